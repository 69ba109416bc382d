import { requireSync } from '../../util/maybe-promise.js'
import { failureOf } from './failure.js'
import { fieldsOf, type Fields, type ReadChunk, type StreamProtocol } from './protocol.js'
import { protocols } from './protocols.js'
import { StreamReport } from './report.js'
import { WireText } from './wire.js'

/** Function that returns the text of a chunk. Returns `undefined` or the empty string if it has none. */
export type TextOf<T> = (chunk: T) => string | undefined

/** Maximum number of property names in a warning. */
const MAX_KEYS = 20

/**
 * Reads the chunks of one stream: their text, and what they report about the stream's end. Strings and bytes (UTF-8, with
 * characters split anywhere) are text, unless they are the wire format of a known protocol. The first protocol that recognises
 * an object reads the objects. A function reads the text of chunks of any other shape.
 */
export class StreamReader<T> {
  readonly report = new StreamReport()
  readonly #textOf: TextOf<T> | undefined
  #wire: WireText | undefined
  #protocol: StreamProtocol | undefined
  #readChunk: ReadChunk | undefined
  /** Whether the choice of the protocol is final. */
  #isSure = false
  #firstObject: object | undefined

  constructor (textOf?: TextOf<T>) {
    this.#textOf = textOf
  }

  /** Returns the text that the chunk adds. Rethrows errors of the function for the text. */
  read (chunk: T): string {
    const text = this.#readKnown(chunk)
    if (this.#textOf === undefined) return text
    const own = requireSync('the option "text"', this.#textOf(chunk))
    return typeof own === 'string' ? own : ''
  }

  /** Ends the stream. Returns the text that was held back until now. Half a character becomes U+FFFD. */
  end (): string {
    const rest = this.#wire?.end() ?? ''
    if (this.#protocol !== undefined) this.report.end(this.#protocol)
    return this.#textOf === undefined ? rest : ''
  }

  /** Returns the text that was held back, of a stream that ended early. */
  release (): string {
    const rest = this.#wire?.release() ?? ''
    return this.#textOf === undefined ? rest : ''
  }

  /** Whether the stream had no objects: only strings or bytes, or nothing. */
  get isTextOnly (): boolean {
    return this.#firstObject === undefined
  }

  /** Property names of the first object, if the stream had objects and no protocol recognised one. */
  get unrecognisedKeys (): readonly string[] | undefined {
    const first = this.#firstObject
    if (first === undefined || this.#protocol !== undefined) return undefined
    return readable(keysOf, first as Fields) ?? []
  }

  #readKnown (chunk: unknown): string {
    if (typeof chunk === 'string' || ArrayBuffer.isView(chunk)) {
      this.#wire ??= new WireText({ recognises: isProviders, readObject: this.#readObject, onLast: () => { this.report.complete() } })
      return this.#wire.read(chunk)
    }
    if (typeof chunk !== 'object' || chunk === null) return ''
    const text = this.#readObject(chunk)
    return text === '' || this.#wire === undefined ? text : this.#wire.end() + text
  }

  #select (chunk: Fields): void {
    this.#firstObject ??= chunk
    if (this.#protocol?.recognises(chunk) !== true) {
      this.#protocol = readable(protocolOf, chunk)
      this.#readChunk = this.#protocol?.open(this.report)
    }
    this.#isSure = this.#protocol !== undefined && this.#protocol.isCommon?.(chunk) !== true
  }

  readonly #readObject = (chunk: object): string => {
    const fields = chunk as Fields
    if (!this.#isSure) this.#select(fields)
    const text = this.#readChunk?.(fields)
    if (text !== undefined) return text
    const failure = readable(failureOf, fields)
    if (failure !== undefined) this.report.fail(failure)
    return ''
  }
}

function keysOf (chunk: Fields): readonly string[] {
  return Object.keys(chunk).slice(0, MAX_KEYS)
}

function protocolOf (chunk: Fields): StreamProtocol | undefined {
  return protocols.find((protocol) => protocol.recognises(chunk))
}

/** Returns undefined for an unreadable object of the app, such as a proxy or one with a getter that throws. */
function readable<T> (read: (chunk: Fields) => T, chunk: Fields): T | undefined {
  try {
    return read(chunk)
  } catch {
    return undefined
  }
}

/**
 * Whether a line of JSON comes from a provider. A model may write JSON too, such as `{"type":"start"}` or
 * `{"error":"no such city"}`.
 */
function isProviders (chunk: object): boolean | undefined {
  const fields = chunk as Fields
  const protocol = protocolOf(fields)
  if (protocol !== undefined) return protocol.isCommon?.(fields) === true ? undefined : true
  return typeof fieldsOf(fields.error).message === 'string' && failureOf(fields) !== undefined
}
