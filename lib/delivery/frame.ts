import { constants, deflateRawSync } from 'node:zlib'

/** How a message is deflated: once, for every connection that negotiated at least this window. */
export interface DeflateSettings {
  /** Messages of fewer bytes go plain. */
  readonly thresholdBytes: number
  /** Messages of more bytes go plain: deflating happens on the event loop, and a long one would hold up everybody. */
  readonly ceilingBytes: number
  readonly windowBits: number
  readonly level: number
  readonly memLevel: number
  readonly chunkSize: number
}

export interface FrameOptions {
  /**
   * Fields that are added behind the text's last one, and the brace behind them: `,"seq":7}`. The text must end in a
   * brace, for these are written over it.
   */
  readonly addition?: string | undefined
  /** While a reader is behind, a newer frame replaces an older one with the same key. */
  readonly collapseKey?: string | undefined
  /** Of a frame that brings a piece of a text: how it replaces one that brought an earlier piece. */
  readonly piece?: TextPiece | undefined
  readonly deflate?: DeflateSettings | undefined
  /** Whether it is kept for long: then it gets memory of its own, and holds on to no neighbours'. */
  readonly isKept?: boolean
}

/** A piece of a text, in a frame. */
export interface TextPiece {
  /** Where in the text it begins. */
  readonly from: number
  /** The same frame with the text from an earlier place on. */
  startingAt (from: number): Frame
}

/** The first byte of a whole text message (RFC 6455, section 5.2). */
const FIN_TEXT = 0x81
/** The bit in it that says that the message is deflated (RFC 7692, section 6). */
const RSV1 = 0x40

/**
 * A message as ready WebSocket frames; a server's are not masked. Made once and given to every connection, so nobody
 * may write into its buffers.
 */
export class Frame {
  readonly collapseKey: string | undefined
  readonly piece: TextPiece | undefined
  readonly #plain: Buffer
  readonly #settings: DeflateSettings | undefined
  #deflated: Buffer | undefined

  constructor (text: string, { addition = '', collapseKey, piece, deflate, isKept = false }: FrameOptions = {}) {
    this.collapseKey = collapseKey
    this.piece = piece
    this.#settings = deflate
    // Written over the text's brace. Two strings that are joined would be one more copy of both.
    const overlap = addition === '' ? 0 : 1
    const length = Buffer.byteLength(text) + Buffer.byteLength(addition) - overlap
    this.#plain = allocate(FIN_TEXT, length, isKept)
    const end = headerBytes(length) + this.#plain.write(text, headerBytes(length))
    if (overlap > 0) this.#plain.write(addition, end - overlap)
  }

  /** The whole frame, for a peer that inflates or for one that does not. Deflated when first asked for, and kept. */
  bytes (inflates: boolean): Buffer {
    if (!inflates || this.#settings === undefined) return this.#plain
    this.#deflated ??= this.#deflate(this.#settings)
    return this.#deflated
  }

  /** The message without a frame around it, for a socket that makes its own. */
  get payload (): Buffer {
    const { length } = this.#plain
    return this.#plain.subarray(length < 2 + 126 ? 2 : length < 4 + 65_536 ? 4 : 10)
  }

  #deflate (settings: DeflateSettings): Buffer {
    const { payload } = this
    if (payload.length < settings.thresholdBytes || payload.length > settings.ceilingBytes) return this.#plain
    const { windowBits, level, memLevel, chunkSize } = settings
    const deflated = deflateRawSync(payload, {
      windowBits, level, memLevel, chunkSize, finishFlush: constants.Z_SYNC_FLUSH
    })
    // RFC 7692, section 7.2.1: the four bytes that end a sync flush are left out, and the receiver puts them back.
    const length = deflated.length - 4
    if (length >= payload.length) return this.#plain
    const frame = allocate(FIN_TEXT | RSV1, length, true)
    deflated.copy(frame, headerBytes(length), 0, length)
    return frame
  }
}

/** A frame with its header written and room for `length` bytes behind it. */
function allocate (first: number, length: number, isKept: boolean): Buffer {
  const size = headerBytes(length) + length
  const frame = isKept ? Buffer.allocUnsafeSlow(size) : Buffer.allocUnsafe(size)
  frame[0] = first
  if (length < 126) {
    frame[1] = length
  } else if (length < 65_536) {
    frame[1] = 126
    frame.writeUInt16BE(length, 2)
  } else {
    frame[1] = 127
    frame.writeBigUInt64BE(BigInt(length), 2)
  }
  return frame
}

function headerBytes (length: number): number {
  return length < 126 ? 2 : length < 65_536 ? 4 : 10
}

/** Several pieces as one, without a copy where there is one. */
export function joinBytes (parts: readonly Buffer[]): Buffer {
  const [only, second] = parts
  return only !== undefined && second === undefined ? only : Buffer.concat(parts)
}
