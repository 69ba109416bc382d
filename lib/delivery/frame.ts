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
  /** The same progress with the text from an earlier place on, in as many messages as that takes. */
  startingAt (from: number): FrameSource
}

/** Frames that are made one at a time, when their reader has room for them. */
export interface FrameSource {
  /** The next frame, or undefined when there is none left. */
  next (): Frame | undefined
}

/** The opcode of a text message, and the bit of its last frame (RFC 6455, section 5.2). A frame without an opcode continues it. */
const TEXT = 0x01
const FIN = 0x80
/** The bit in the first frame that says that the message is deflated (RFC 7692, section 6). */
const RSV1 = 0x40

/**
 * Size of a frame of a long message, header included, in bytes. A long message is fragmented (RFC 6455, section 5.4), so that
 * pings can go out in the middle of it. Every frame but the last has exactly this size.
 */
export const FRAGMENT_BYTES = 64 * 1024
/** The header of a frame with 126 to 65,535 bytes. */
const LONG_HEADER_BYTES = 4
const FRAGMENT_PAYLOAD_BYTES = FRAGMENT_BYTES - LONG_HEADER_BYTES

/**
 * A message as ready WebSocket frames; a server's are not masked. Made once and given to every connection, so nobody
 * may write into its buffers. Cut at any multiple of `FRAGMENT_BYTES`, its bytes are whole frames on both sides.
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
    if (length > FRAGMENT_PAYLOAD_BYTES) {
      const payload = Buffer.allocUnsafe(length)
      payload.write(addition, payload.write(text) - overlap)
      this.#plain = fragment(payload, TEXT)
      return
    }
    this.#plain = allocate(TEXT | FIN, length, isKept)
    const end = headerBytes(length) + this.#plain.write(text, headerBytes(length))
    if (overlap > 0) this.#plain.write(addition, end - overlap)
  }

  /** The whole message, for a peer that inflates or for one that does not. Deflated when first asked for, and kept. */
  bytes (inflates: boolean): Buffer {
    if (!inflates || this.#settings === undefined) return this.#plain
    this.#deflated ??= this.#deflate(this.#settings)
    return this.#deflated
  }

  /** The message without frames around it, for a socket that makes its own. */
  get payload (): Buffer {
    const { length } = this.#plain
    if (length <= FRAGMENT_BYTES) return this.#plain.subarray(length < 2 + 126 ? 2 : LONG_HEADER_BYTES)
    const parts: Buffer[] = []
    for (let at = 0; at < length; at += FRAGMENT_BYTES) {
      const frame = this.#plain.subarray(at, at + FRAGMENT_BYTES)
      parts.push(frame.subarray(frame.length < 2 + 126 ? 2 : LONG_HEADER_BYTES))
    }
    return Buffer.concat(parts)
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
    if (length > FRAGMENT_PAYLOAD_BYTES) return fragment(deflated.subarray(0, length), TEXT | RSV1)
    const frame = allocate(TEXT | RSV1 | FIN, length, true)
    deflated.copy(frame, headerBytes(length), 0, length)
    return frame
  }
}

/** A long message as a sequence of frames; `first` is the first one's first byte. */
function fragment (payload: Buffer, first: number): Buffer {
  const rest = payload.length % FRAGMENT_PAYLOAD_BYTES
  const whole = (payload.length - rest) / FRAGMENT_PAYLOAD_BYTES
  const frames = Buffer.allocUnsafeSlow(whole * FRAGMENT_BYTES + (rest === 0 ? 0 : headerBytes(rest) + rest))
  for (let read = 0, written = 0; read < payload.length;) {
    const length = Math.min(FRAGMENT_PAYLOAD_BYTES, payload.length - read)
    const isLast = read + length === payload.length
    written = writeHeader(frames, written, (read === 0 ? first : 0) | (isLast ? FIN : 0), length)
    written += payload.copy(frames, written, read, read + length)
    read += length
  }
  return frames
}

/** A frame with its header written and room for `length` bytes behind it. */
function allocate (first: number, length: number, isKept: boolean): Buffer {
  const size = headerBytes(length) + length
  const frame = isKept ? Buffer.allocUnsafeSlow(size) : Buffer.allocUnsafe(size)
  writeHeader(frame, 0, first, length)
  return frame
}

/** Answers where the header ends. */
function writeHeader (frame: Buffer, at: number, first: number, length: number): number {
  frame[at] = first
  if (length < 126) {
    frame[at + 1] = length
    return at + 2
  }
  frame[at + 1] = 126
  return frame.writeUInt16BE(length, at + 2)
}

function headerBytes (length: number): number {
  return length < 126 ? 2 : LONG_HEADER_BYTES
}

/** Several pieces as one, without a copy where there is one. */
export function joinBytes (parts: readonly Buffer[]): Buffer {
  const [only, second] = parts
  return only !== undefined && second === undefined ? only : Buffer.concat(parts)
}
