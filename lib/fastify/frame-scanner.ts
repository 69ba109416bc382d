/** The kinds of frames that end nothing by themselves (RFC 6455, section 5.2): continuation, text and binary frames. */
const LAST_DATA_OPCODE = 0x2
/** The kind of a close frame. */
export const CLOSE = 0x8

/**
 * Finds where frames begin and end in a client's bytes (RFC 6455, section 5.2). It reads the headers alone: no payload is
 * kept, unmasked or inflated. Nothing is checked, because ws checks what it is given.
 */
export class FrameScanner {
  #first = 0
  #headerBytes = 0
  #headerLength = 2
  /** Where in the header the length ends. */
  #lengthEnd = 2
  #payloadLeft = 0
  #frameBytes = 0
  #isAtEnd = true

  /** Whether the last byte that it took ended a frame. */
  get isAtEnd (): boolean {
    return this.#isAtEnd
  }

  /** The kind of the last frame. */
  get opcode (): number {
    return this.#first & 0x0f
  }

  /** Whether the last frame brings the end of a message. */
  get endsMessage (): boolean {
    return this.opcode <= LAST_DATA_OPCODE && (this.#first & 0x80) !== 0
  }

  /** Whether the last frame brings a part of a message, and not its end. */
  get isFragment (): boolean {
    return this.opcode <= LAST_DATA_OPCODE && (this.#first & 0x80) === 0
  }

  /** Bytes of the last frame that it took. */
  get frameBytes (): number {
    return this.#frameBytes
  }

  /** Takes bytes from a place on, up to the end of a frame or of the bytes. Returns the place where it stopped. */
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
