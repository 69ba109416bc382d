/** Maximum length of held-back lines of JSON, in UTF-16 units. Limited, because models write JSON too. */
const MAX_JSON_UNITS = 64 * 1024
/**
 * Maximum length of held-back server-sent events. Larger, because the first event of OpenAI's responses repeats the
 * instructions.
 */
const MAX_EVENT_UNITS = 1024 * 1024
/** A longer incomplete line is not checked again until it is complete. */
const MAX_LOOKED_AT_UNITS = 256

/** A line of server-sent events: https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream */
const EVENT_LINE = /^(?:data: ?[{[].*|event: ?[\w.-]*|id: ?\S*|retry: ?\d*|:.*)?$/s
/** A line of server-sent events after a line of data that is not complete JSON. */
const NEXT_LINE = /^(?:(?:data|event|id|retry)?:.*)$/s
const EVENT_FIELDS = ['data:', 'event:', 'id:', 'retry:']
/** The start of a provider's JSON. Other JSON is text of the model, and is not held back. */
const JSON_LINE = /^\{"(?:type|id|object|model|event|candidates|choices|created|error)":/
const JSON_FIELDS = ['{"type":', '{"id":', '{"object":', '{"model":', '{"event":', '{"candidates":', '{"choices":', '{"created":', '{"error":']
/** Data of the last event from OpenAI-compatible hosts and the AI SDK. */
export const LAST_DATA = '[DONE]'

export type Format = 'undecided' | 'text' | 'events' | 'lines'

/** Whether an object is a chunk of a known protocol. Undefined if that depends on the next chunk. */
export type Recognises = (chunk: object) => boolean | undefined

/** Detects the format at the start of a stream. Checks each line once, so that small chunks cost no more than large ones. */
export class WireFormat {
  readonly #recognises: Recognises
  readonly #lines = new Lines()
  #units = 0
  #isFirst = true
  /** Whether the stream begins like JSON. */
  #isJSON = false
  /** Data lines of an event that is not complete JSON yet. */
  #data: string[] = []

  constructor (recognises: Recognises) {
    this.#recognises = recognises
  }

  /** Adds the next text, which must not be empty. Returns the detected format. */
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

  /** Whether the data is an event. Arrays are events only if a protocol recognises them, as LangGraph's does. */
  #isEvent (): boolean {
    const data = this.#data.join('\n')
    const chunk = parseObject(data)
    return data === LAST_DATA || (chunk !== undefined && (!Array.isArray(chunk) || this.#recognises(chunk) === true))
  }

  /** Whether an incomplete line may still become a matching one. Its last character may be the first half of a CRLF. */
  #lookAtTail (tail: string): Format {
    const line = tail.endsWith('\r') ? tail.slice(0, -1) : tail
    const [pattern, fields] = this.#isJSON ? [JSON_LINE, JSON_FIELDS] as const : [this.#data.length === 0 ? EVENT_LINE : NEXT_LINE, EVENT_FIELDS] as const
    return pattern.test(line) || line === 'data: ' || fields.some((field) => field.startsWith(line)) ? 'undecided' : 'text'
  }
}

const LINE_END = /\r\n|\n|\r(?!$)/

/** Splits chunks of text into lines. */
export class Lines {
  #tail = ''
  #mayEnd = false

  /** The incomplete last line. */
  get tail (): string {
    return this.#tail
  }

  /**
   * Returns the lines that the text completes. The cost of text without a line end does not depend on the length of the line.
   */
  add (text: string): readonly string[] {
    if (!this.#mayEnd && !/[\r\n]/.test(text)) {
      this.#tail += text
      return []
    }
    const lines = (this.#tail + text).split(LINE_END)
    this.#tail = lines.splice(-1).join('')
    // A final CR may be a line end, or the first half of a CRLF.
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
