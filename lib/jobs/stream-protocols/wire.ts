import { dataOf, LAST_DATA, Lines, parseObject, WireFormat, type Format, type Recognises } from './wire-format.js'

/** Maximum length of an event, in UTF-16 units. The largest known ones contain an image. */
const MAX_EVENT_UNITS = 64 * 1024 * 1024

export interface WireTextOptions {
  readonly recognises: Recognises
  /** Reads an object of the wire format and returns its text. */
  readonly readObject: (chunk: object) => string
  /** Called for the data that marks the end. */
  readonly onLast: () => void
}

/**
 * Reads the text of a stream of strings or bytes. They are the text itself, unless they are the wire format of a provider. Then
 * the text is in their JSON, either as server-sent events (`data: {…}`, a provider's response or the AI SDK's
 * `toUIMessageStreamResponse()`) or as lines of JSON (the `toReadableStream()` of the OpenAI and Anthropic SDKs).
 *
 * Text is held back only while its start may be one of these formats.
 */
export class WireText {
  readonly #options: WireTextOptions
  #format: Format = 'undecided'
  #decoder: InstanceType<typeof TextDecoder> | undefined
  #beginning: WireFormat | undefined
  /** Text that is held back while the format is unknown. */
  #held = ''
  readonly #lines = new Lines()
  /** Data lines of the incomplete event. */
  #data: string[] = []
  #dataUnits = 0

  constructor (options: WireTextOptions) {
    this.#options = options
  }

  /** Returns the text of a chunk. @throws RangeError for an event that is too long. */
  read (chunk: string | ArrayBufferView): string {
    return this.#add(this.#decode(chunk))
  }

  /**
   * Ends the text, at the end of the stream or before an object. Returns the held-back text. Half a character becomes U+FFFD.
   */
  end (): string {
    return this.#add(this.#decoder?.decode() ?? '') + this.release()
  }

  /** Returns the held-back text, of a stream that ended early. Half a character stays out. */
  release (): string {
    // The last line may have no line end.
    if (this.#format !== 'undecided') return this.#format === 'text' ? '' : this.#add('\n\n')
    const held = this.#held
    this.#held = ''
    const format = this.#beginning?.add('\n\n')
    this.#beginning = undefined
    if (format !== 'events' && format !== 'lines') return held
    this.#format = format
    return this.#readLines(withoutMark(held) + '\n\n')
  }

  #decode (chunk: string | ArrayBufferView): string {
    if (typeof chunk === 'string') return chunk === '' || this.#decoder === undefined ? chunk : this.#decoder.decode() + chunk
    // Keeps a byte order mark, so that lengths match the text that the reader of the chunks sees.
    this.#decoder ??= new TextDecoder('utf-8', { ignoreBOM: true })
    return this.#decoder.decode(chunk as Uint8Array, { stream: true })
  }

  #add (text: string): string {
    if (this.#format === 'text' || text === '') return text
    return this.#format === 'undecided' ? this.#decide(text) : this.#readLines(text)
  }

  #decide (text: string): string {
    // A byte order mark is not part of the events.
    const wire = this.#held === '' ? withoutMark(text) : text
    this.#held += text
    if (wire === '') return ''
    this.#beginning ??= new WireFormat(this.#options.recognises)
    this.#format = this.#beginning.add(wire)
    if (this.#format === 'undecided') return ''
    const held = this.#held
    this.#held = ''
    this.#beginning = undefined
    return this.#format === 'text' ? held : this.#readLines(withoutMark(held))
  }

  #readLines (text: string): string {
    let added = ''
    for (const line of this.#lines.add(text)) added += this.#format === 'lines' ? this.#readJSON(line) : this.#readEventLine(line)
    if (this.#dataUnits + this.#lines.tail.length > MAX_EVENT_UNITS) throw new RangeError(`an event of the stream is longer than ${MAX_EVENT_UNITS} UTF-16 units`)
    return added
  }

  #readEventLine (line: string): string {
    if (line.startsWith('data:')) this.#addData(dataOf(line))
    if (line !== '') return ''
    const data = this.#data.join('\n')
    this.#data = []
    this.#dataUnits = 0
    if (data === LAST_DATA) this.#options.onLast()
    return this.#readJSON(data)
  }

  #addData (data: string): void {
    this.#data.push(data)
    this.#dataUnits += data.length + 1
  }

  #readJSON (json: string): string {
    const chunk = parseObject(json)
    return chunk === undefined ? '' : this.#options.readObject(chunk)
  }
}

function withoutMark (text: string): string {
  return text.startsWith('\ufeff') ? text.slice(1) : text
}
