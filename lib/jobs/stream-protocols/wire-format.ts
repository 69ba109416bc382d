/** Lines of JSON are held back at most so long, in UTF-16 units, because models write JSON as well. */
const MAX_JSON_UNITS = 64 * 1024
/** The same of server-sent events: the first event of OpenAI's responses repeats the instructions. */
const MAX_EVENT_UNITS = 1024 * 1024
/** An incomplete line that is longer is not looked at again until it is complete. */
const MAX_LOOKED_AT_UNITS = 256

/** A line of server-sent events: https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream */
const EVENT_LINE = /^(?:data: ?[{[].*|event: ?[\w.-]*|id: ?\S*|retry: ?\d*|:.*)?$/s
/** The same, after a line of data that is not complete JSON. */
const NEXT_LINE = /^(?:(?:data|event|id|retry)?:.*)$/s
const EVENT_FIELDS = ['data:', 'event:', 'id:', 'retry:']
/** JSON as providers begin it. A model that writes other JSON is not held back. */
const JSON_LINE = /^\{"(?:type|id|object|model|event|candidates|choices|created|error)":/
const JSON_FIELDS = ['{"type":', '{"id":', '{"object":', '{"model":', '{"event":', '{"candidates":', '{"choices":', '{"created":', '{"error":']
/** Hosts that speak like OpenAI, and the AI SDK, end with it. */
export const LAST_DATA = '[DONE]'

export type Format = 'undecided' | 'text' | 'events' | 'lines'

/** Whether an object is a chunk of a known protocol. Undefined: it could be one, and the next chunk tells. */
export type Recognises = (chunk: object) => boolean | undefined

/** Finds out what the beginning of a stream is. It looks at each line once: text that comes in small pieces costs no more. */
export class WireFormat {
  readonly #recognises: Recognises
  readonly #lines = new Lines()
  #units = 0
  #isFirst = true
  /** Whether the stream begins like JSON. */
  #isJSON = false
  /** The lines of data of an event that is not complete JSON yet. */
  #data: string[] = []

  constructor (recognises: Recognises) {
    this.#recognises = recognises
  }

  /** Adds the text that came next, which is not empty. */
  add (text: string): Format {
    if (this.#isFirst) this.#isJSON = text.startsWith('{')
    this.#isFirst = false
    this.#units += text.length
    if (this.#units > (this.#isJSON ? MAX_JSON_UNITS : MAX_EVENT_UNITS)) return 'text'
    const lookedAt = this.#lines.tail.length
    for (const line of this.#lines.add(text)) {
      const format = this.#isJSON ? this.#lookAtJSON(line) : this.#lookAtEvent(line)
      if (format !== 'undecided') return format
    }
    const { tail } = this.#lines
    return tail.length > text.length && lookedAt > MAX_LOOKED_AT_UNITS ? 'undecided' : this.#lookAtTail(tail)
  }

  #lookAtJSON (line: string): Format {
    const chunk = parseObject(line)
    const isKnown = chunk === undefined ? line === '' && undefined : this.#recognises(chunk)
    return isKnown === undefined ? 'undecided' : isKnown ? 'lines' : 'text'
  }

  #lookAtEvent (line: string): Format {
    if (line === '' && this.#data.length > 0) return this.#isEvent() ? 'events' : 'text'
    if (!(this.#data.length === 0 ? EVENT_LINE : NEXT_LINE).test(line)) return 'text'
    if (!line.startsWith('data:')) return 'undecided'
    this.#data.push(dataOf(line))
    return this.#data.length === 1 && this.#isEvent() ? 'events' : 'undecided'
  }

  /** Arrays are events only where a protocol has such: LangGraph's. */
  #isEvent (): boolean {
    const data = this.#data.join('\n')
    const chunk = parseObject(data)
    return data === LAST_DATA || (chunk !== undefined && (!Array.isArray(chunk) || this.#recognises(chunk) === true))
  }

  /** Whether an incomplete line can still become one that matches. Its last character may be half of a line's end. */
  #lookAtTail (tail: string): Format {
    const line = tail.endsWith('\r') ? tail.slice(0, -1) : tail
    const [pattern, fields] = this.#isJSON ? [JSON_LINE, JSON_FIELDS] as const : [this.#data.length === 0 ? EVENT_LINE : NEXT_LINE, EVENT_FIELDS] as const
    return pattern.test(line) || line === 'data: ' || fields.some((field) => field.startsWith(line)) ? 'undecided' : 'text'
  }
}

const LINE_END = /\r\n|\n|\r(?!$)/

/** Splits text into lines, wherever it is cut. */
export class Lines {
  #tail = ''
  #mayEnd = false

  /** The line that is not complete. */
  get tail (): string {
    return this.#tail
  }

  /** Returns the lines that the text completes. Text without a line's end costs nothing more, however long the line is. */
  add (text: string): readonly string[] {
    if (!this.#mayEnd && !/[\r\n]/.test(text)) {
      this.#tail += text
      return []
    }
    const lines = (this.#tail + text).split(LINE_END)
    this.#tail = lines.splice(-1).join('')
    // Half of a line's end, or all of it.
    this.#mayEnd = this.#tail.endsWith('\r')
    return lines
  }
}

export function dataOf (line: string): string {
  return line.slice(line.startsWith('data: ') ? 6 : 5)
}

export function parseObject (json: string): object | undefined {
  try {
    const value: unknown = JSON.parse(json)
    return typeof value === 'object' && value !== null ? value : undefined
  } catch {
    return undefined
  }
}
