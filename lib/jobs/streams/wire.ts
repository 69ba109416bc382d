/** A stream's first line is held back at most so long, in UTF-16 units, to find out what it is. */
const MAX_HELD_UNITS = 64 * 1024

/** A line of server-sent events: https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream */
const EVENT_LINE = /^(?:data: ?[{[].*|event: ?[\w.-]*|id: ?\S*|retry: ?\d*|:.*)?$/s
/** The same, after a line of data that is not complete JSON. */
const NEXT_LINE = /^(?:(?:data|event|id|retry)?:.*)$/s
const EVENT_FIELDS = ['data:', 'event:', 'id:', 'retry:']
/** JSON as providers begin it. A model that writes other JSON is not held back. */
const JSON_LINE = /^\{"(?:type|id|object|model|event|candidates|choices|created|error)":/
const JSON_FIELDS = ['{"type":', '{"id":', '{"object":', '{"model":', '{"event":', '{"candidates":', '{"choices":', '{"created":', '{"error":']
const LINE_END = /\r\n|\n|\r(?!$)/
/** Hosts that speak like OpenAI, and the AI SDK, end with it. */
const LAST_DATA = '[DONE]'

export interface WireTextOptions {
  /** Whether an object is a chunk of a known protocol. */
  readonly recognises: (chunk: object) => boolean
  /** Reads an object of the wire, and returns its text. */
  readonly readObject: (chunk: object) => string
  /** The data came that says that nothing follows. */
  readonly onLast: () => void
}

type Format = 'undecided' | 'text' | 'events' | 'lines'

/**
 * The text of a stream of strings or bytes. They are the text itself, unless they are the wire format of a provider: then
 * the text is in the JSON that they carry, as server-sent events (`data: {…}`, a provider's response or the AI SDK's
 * `toUIMessageStreamResponse()`) or as lines of JSON (the `toReadableStream()` of the OpenAI and Anthropic SDKs).
 *
 * Text is held back only while its beginning could be either of these.
 */
export class WireText {
  readonly #options: WireTextOptions
  #format: Format = 'undecided'
  #decoder: InstanceType<typeof TextDecoder> | undefined
  /** What is not decided, or an incomplete line. */
  #held = ''
  /** The `data` of the event that is not complete. */
  #data: string[] = []

  constructor (options: WireTextOptions) {
    this.#options = options
  }

  read (chunk: string | ArrayBufferView): string {
    return this.#add(this.#decode(chunk))
  }

  /** The stream ended, or an object came between. Returns what was held back; half a character becomes U+FFFD. */
  end (): string {
    const text = this.#add(this.#decoder?.decode() ?? '')
    if (this.#format === 'undecided') {
      const held = this.#held
      this.#held = ''
      return text + held
    }
    // The last line may lack its end.
    return this.#format === 'text' ? text : text + this.#add('\n\n')
  }

  #decode (chunk: string | ArrayBufferView): string {
    if (typeof chunk === 'string') return chunk === '' || this.#decoder === undefined ? chunk : this.#decoder.decode() + chunk
    // A byte order mark is left in, so that lengths are those of the text that the reader of the chunks sees.
    this.#decoder ??= new TextDecoder('utf-8', { ignoreBOM: true })
    return this.#decoder.decode(chunk as Uint8Array, { stream: true })
  }

  #add (text: string): string {
    if (this.#format === 'text' || text === '') return text
    if (this.#format === 'undecided') return this.#decide(this.#held + text)
    return this.#readLines(text)
  }

  #decide (text: string): string {
    this.#held = text
    // A byte order mark is no part of the events.
    const wire = text.startsWith('\ufeff') ? text.slice(1) : text
    this.#format = formatOf(wire, this.#options.recognises)
    if (this.#format === 'undecided') return ''
    this.#held = ''
    return this.#format === 'text' ? text : this.#readLines(wire)
  }

  #readLines (text: string): string {
    const lines = (this.#held + text).split(LINE_END)
    this.#held = lines.splice(-1).join('')
    return lines.map((line) => this.#format === 'lines' ? this.#readJSON(line) : this.#readEventLine(line)).join('')
  }

  #readEventLine (line: string): string {
    if (line.startsWith('data:')) this.#data.push(dataOf(line))
    if (line !== '') return ''
    const data = this.#data.join('\n')
    this.#data = []
    if (data === LAST_DATA) this.#options.onLast()
    return this.#readJSON(data)
  }

  #readJSON (json: string): string {
    const chunk = parseObject(json)
    return chunk === undefined ? '' : this.#options.readObject(chunk)
  }
}

/** What the beginning of a stream is. */
function formatOf (text: string, recognises: (chunk: object) => boolean): Format {
  if (text.length > MAX_HELD_UNITS) return 'text'
  const lines = text.split(LINE_END)
  const tail = lines.splice(-1).join('')
  if (text.startsWith('{')) {
    const first = parseObject(lines[0] ?? '')
    if (first !== undefined) return recognises(first) ? 'lines' : 'text'
    return lines.length === 0 && mayBecome(tail, JSON_LINE, JSON_FIELDS) ? 'undecided' : 'text'
  }
  const data: string[] = []
  for (const line of lines) {
    if (!(data.length === 0 ? EVENT_LINE : NEXT_LINE).test(line)) return 'text'
    if (line.startsWith('data:')) data.push(dataOf(line))
    if (isEventData(data.join('\n'), recognises)) return 'events'
  }
  return mayBecome(tail, data.length === 0 ? EVENT_LINE : NEXT_LINE, EVENT_FIELDS) ? 'undecided' : 'text'
}

/** Whether an incomplete line can still become one that matches. Its last character may be half of a line's end. */
function mayBecome (tail: string, pattern: RegExp, fields: readonly string[]): boolean {
  const line = tail.endsWith('\r') ? tail.slice(0, -1) : tail
  return pattern.test(line) || line === 'data: ' || fields.some((field) => field.startsWith(line))
}

function dataOf (line: string): string {
  return line.slice(line.startsWith('data: ') ? 6 : 5)
}

/** Arrays are events only where a protocol has such: LangGraph's. */
function isEventData (data: string, recognises: (chunk: object) => boolean): boolean {
  const chunk = parseObject(data)
  return data === LAST_DATA || (chunk !== undefined && (!Array.isArray(chunk) || recognises(chunk)))
}

function parseObject (json: string): object | undefined {
  try {
    const value: unknown = JSON.parse(json)
    return typeof value === 'object' && value !== null ? value : undefined
  } catch {
    return undefined
  }
}
