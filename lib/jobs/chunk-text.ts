import { synchronous } from '../maybe-promise.js'

/** Reads the text that a chunk brings. `undefined` and the empty string say that it brings none. */
export type TextOf<T> = (chunk: T) => string | undefined

/** Where the chunks of the model providers' SDKs, and their errors, keep what is read of them. */
export interface Fields {
  readonly type?: unknown
  readonly text?: unknown
  readonly textDelta?: unknown
  readonly delta?: unknown
  readonly choices?: unknown
  readonly error?: unknown
  readonly errorText?: unknown
  readonly response?: unknown
  readonly content?: unknown
  readonly index?: unknown
  readonly message?: unknown
  readonly code?: unknown
}

/**
 * The text of a stream's chunks, one after the other: of strings, of bytes in UTF-8 (a character may be cut anywhere),
 * and of the objects that the OpenAI, Anthropic and AI SDKs stream. A function reads chunks of any other shape.
 */
export class ChunkText<T> {
  readonly #textOf: TextOf<T> | undefined
  #decoder: InstanceType<typeof TextDecoder> | undefined

  constructor (textOf?: TextOf<T>) {
    this.#textOf = textOf
  }

  read (chunk: T): string {
    return this.#textOf === undefined ? this.#readKnown(chunk) : stringOf(synchronous('the option "text"', this.#textOf(chunk)))
  }

  /** What is left when nothing follows: half a character becomes U+FFFD, as everywhere where bytes are decoded. */
  end (): string {
    return this.#decoder?.decode() ?? ''
  }

  #readKnown (chunk: unknown): string {
    if (ArrayBuffer.isView(chunk)) {
      // A byte order mark is left in, so that lengths are those of the text that the reader of the chunks sees.
      this.#decoder ??= new TextDecoder('utf-8', { ignoreBOM: true })
      return this.#decoder.decode(chunk as Uint8Array, { stream: true })
    }
    const text = typeof chunk === 'string' ? chunk : textOfObject(chunk)
    return text === '' ? '' : this.end() + text
  }
}

/** Thinking, tool calls, usage and whatever is not known hold no text that is the job's. */
function textOfObject (chunk: unknown): string {
  const { type, text, textDelta, delta, choices } = fieldsOf(chunk)
  switch (type) {
    // The AI SDK: version 5, version 4, and the stream for its UI.
    case 'text-delta': return [text, textDelta, delta].map(stringOf).find((value) => value !== '') ?? ''
    // OpenAI's responses.
    case 'response.output_text.delta': return stringOf(delta)
    // Anthropic's messages.
    case 'content_block_delta': return fieldsOf(delta).type === 'text_delta' ? stringOf(fieldsOf(delta).text) : ''
    // OpenAI's chat completions, and everyone who speaks like them. Of several answers (`n`) the first is the text.
    case undefined: {
      const first: unknown = Array.isArray(choices) ? choices.find((choice) => (fieldsOf(choice).index ?? 0) === 0) : undefined
      return stringOf(fieldsOf(fieldsOf(first).delta).content)
    }
    default: return ''
  }
}

/** A value's fields; of what has none, none. */
export function fieldsOf (value: unknown): Fields {
  return typeof value === 'object' && value !== null ? value : {}
}

/** A string; of anything else the empty one. */
function stringOf (value: unknown): string {
  return typeof value === 'string' ? value : ''
}
