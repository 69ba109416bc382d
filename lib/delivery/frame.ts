import { constants, deflateRawSync } from 'node:zlib'

/** Compression settings. A message is deflated once, for all connections that negotiated at least this window. */
export interface DeflateSettings {
  /** Shorter messages, in bytes, are not compressed. */
  readonly thresholdBytes: number
  /** Longer messages, in bytes, are not compressed, because compression blocks the event loop. */
  readonly ceilingBytes: number
  readonly windowBits: number
  readonly level: number
  readonly memLevel: number
  readonly chunkSize: number
}

export interface FrameOptions {
  /** While a client is behind, a newer frame replaces a queued one with the same key. */
  readonly collapseKey?: string | undefined
  /** The piece of a job's text in this frame, if any. Used when the frame replaces one with an earlier piece. */
  readonly piece?: TextPiece | undefined
  readonly deflate?: DeflateSettings | undefined
  /** Whether the frame is kept for long. It then gets its own memory instead of a slice of Node's buffer pool. */
  readonly isKept?: boolean
}

/** The piece of a job's text that a frame contains. */
export interface TextPiece {
  /** Offset in the text at which it begins. */
  readonly from: number
  /** Returns the same progress with the text from an earlier offset on, in as many frames as necessary. */
  startingAt (from: number): FrameSource
}

/** Makes frames one at a time, when the socket has room for them. */
export interface FrameSource {
  /** Returns the next frame, or undefined if there is none left. */
  next (): Frame | undefined
}

/** The opcode of a text message, and the bit of its last frame (RFC 6455, section 5.2). Opcode 0 continues a message. */
const TEXT = 0x01
const FIN = 0x80
/** The bit in the first frame that marks a deflated message (RFC 7692, section 6). */
const RSV1 = 0x40

/**
 * Size of a fragment, including its header, in bytes. A long message is fragmented (RFC 6455, section 5.4), so that pings can
 * be sent in the middle of it. Every frame but the last has exactly this size.
 */
export const FRAGMENT_BYTES = 64 * 1024
/** Header size of a frame with a payload of 126 to 65,535 bytes. */
const LONG_HEADER_BYTES = 4
const FRAGMENT_PAYLOAD_BYTES = FRAGMENT_BYTES - LONG_HEADER_BYTES

/**
 * A message as encoded WebSocket frames. Frames from a server are not masked. All connections share its buffers, so nothing
 * may write into them. Its bytes can be split into whole frames at any multiple of `FRAGMENT_BYTES`.
 */
export class Frame {
  readonly collapseKey: string | undefined
  readonly piece: TextPiece | undefined
  readonly #plain: Buffer
  readonly #settings: DeflateSettings | undefined
  #deflated: Buffer | undefined

  constructor (text: string, { collapseKey, piece, deflate, isKept = false }: FrameOptions = {}) {
    this.collapseKey = collapseKey
    this.piece = piece
    this.#settings = deflate
    const length = Buffer.byteLength(text)
    if (length > FRAGMENT_PAYLOAD_BYTES) {
      this.#plain = fragment(Buffer.from(text), TEXT)
      return
    }
    this.#plain = allocate(TEXT | FIN, length, isKept)
    this.#plain.write(text, headerBytes(length))
  }

  /** Returns the whole message, compressed or not. It is compressed on first use, and the result is kept. */
  bytes (inflates: boolean): Buffer {
    if (!inflates || this.#settings === undefined) return this.#plain
    this.#deflated ??= this.#deflate(this.#settings)
    return this.#deflated
  }

  /** The message without frame headers, for a socket that encodes frames itself. */
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
    // RFC 7692, section 7.2.1: the four bytes at the end of a sync flush are left out, and the receiver adds them again.
    const length = deflated.length - 4
    if (length >= payload.length) return this.#plain
    if (length > FRAGMENT_PAYLOAD_BYTES) return fragment(deflated.subarray(0, length), TEXT | RSV1)
    const frame = allocate(TEXT | RSV1 | FIN, length, true)
    deflated.copy(frame, headerBytes(length), 0, length)
    return frame
  }
}

/** Encodes a long message as a sequence of frames. `first` is the first byte of the first frame. */
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

/** Allocates a frame for a payload of `length` bytes, and writes its header. */
function allocate (first: number, length: number, isKept: boolean): Buffer {
  const size = headerBytes(length) + length
  const frame = isKept ? Buffer.allocUnsafeSlow(size) : Buffer.allocUnsafe(size)
  writeHeader(frame, 0, first, length)
  return frame
}

/** Writes a frame's header. Returns where it ends. */
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

/** Concatenates buffers, without a copy if there is only one. */
export function joinBytes (parts: readonly Buffer[]): Buffer {
  const [only, second] = parts
  return only !== undefined && second === undefined ? only : Buffer.concat(parts)
}
