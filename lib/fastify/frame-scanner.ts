/** Highest opcode of a data frame (RFC 6455, section 5.2): 0 continuation, 1 text, 2 binary. */
const LAST_DATA_OPCODE = 0x2
/** Opcode of a close frame. */
export const CLOSE = 0x8

/**
 * Finds the boundaries of frames in a client's bytes (RFC 6455, section 5.2). It reads only the headers: it does not keep,
 * unmask or inflate payloads. It validates nothing, because ws does.
 */
export class FrameScanner {
  #first = 0
  #headerBytes = 0
  #headerLength = 2
  /** Position in the header at which the length ends. */
  #lengthEnd = 2
  #payloadLeft = 0
  #frameBytes = 0
  #isAtEnd = true

  /** Whether the last byte that it read ended a frame. */
  get isAtEnd (): boolean {
    return this.#isAtEnd
  }

  /** Opcode of the last frame. */
  get opcode (): number {
    return this.#first & 0x0f
  }

  /** Whether the last frame is the final frame of a message. */
  get endsMessage (): boolean {
    return this.opcode <= LAST_DATA_OPCODE && (this.#first & 0x80) !== 0
  }

  /** Whether the last frame is a non-final frame of a message. */
  get isFragment (): boolean {
    return this.opcode <= LAST_DATA_OPCODE && (this.#first & 0x80) === 0
  }

  /** Number of bytes of the last frame that it has read. */
  get frameBytes (): number {
    return this.#frameBytes
  }

  /** Reads bytes from a position to the end of the frame or of the bytes. Returns the position where it stopped. */
  take (bytes: Buffer, from: number): number {
    if (this.#isAtEnd) this.#begin()
    let at = from
    while (at < bytes.length && this.#headerBytes < this.#headerLength) this.#readHeader(bytes.readUInt8(at++))
    if (this.#headerBytes === this.#headerLength) {
      const taken = Math.min(this.#payloadLeft, bytes.length - at)
      this.#payloadLeft -= taken
      this.#isAtEnd = this.#payloadLeft === 0
      at += taken
    }
    this.#frameBytes += at - from
    return at
  }

  #begin (): void {
    this.#isAtEnd = false
    this.#headerBytes = 0
    this.#headerLength = 2
    this.#payloadLeft = 0
    this.#frameBytes = 0
  }

  #readHeader (byte: number): void {
    const at = this.#headerBytes++
    if (at === 0) {
      this.#first = byte
    } else if (at === 1) {
      const length = byte & 0x7f
      const isMasked = (byte & 0x80) !== 0
      this.#lengthEnd = length === 126 ? 4 : length === 127 ? 10 : 2
      this.#headerLength = this.#lengthEnd + (isMasked ? 4 : 0)
      this.#payloadLeft = this.#lengthEnd === 2 ? length : 0
    } else if (at < this.#lengthEnd) {
      this.#payloadLeft = this.#payloadLeft * 256 + byte
    }
  }
}
