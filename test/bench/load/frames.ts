// The client's half of RFC 6455, as far as counting needs it.

export const TEXT = 1
export const CLOSE = 8
export const PING = 9
export const PONG = 10

const FIN_MASKED_RSV1 = 0x40

/** Returns a client's frame. The mask is zero: it must be present, but need not hide anything. */
export function clientFrame (opcode: number, payload: Buffer | string, deflated = false): Buffer {
  const content = Buffer.from(payload)
  const first = 0x80 | opcode | (deflated ? FIN_MASKED_RSV1 : 0)
  const length = content.length < 126 ? [0x80 | content.length] : [0x80 | 126, content.length >> 8, content.length & 255]
  return Buffer.concat([Buffer.from([first, ...length, 0, 0, 0, 0]), content])
}

/** Splits a byte stream into frames, without reading their payloads unless asked. */
export class FrameCounter {
  /** Remaining bytes of the frame that is being skipped. */
  #left = 0
  #first = 0
  #header: Buffer | undefined
  #length = 0
  /** The payload read so far, if payloads are read. */
  #payload: Buffer | undefined
  #kept = 0
  readonly #onFrame: (first: number, length: number, payload: Buffer | undefined) => void
  /** Whether payloads are read. Those of control frames and of one byte always are. */
  reads = false

  /** `payload` is valid during the call only. */
  constructor (onFrame: (first: number, length: number, payload: Buffer | undefined) => void) {
    this.#onFrame = onFrame
  }

  push (bytes: Buffer, end: number): void {
    let at = 0
    if (this.#header !== undefined) {
      bytes = Buffer.concat([this.#header, bytes.subarray(0, end)])
      end = bytes.length
      this.#header = undefined
    }
    while (at < end) {
      if (this.#left === 0) {
        const second = end - at < 2 ? -1 : bytes[at + 1]!
        const size = second < 126 ? 2 : second === 126 ? 4 : 10
        if (second < 0 || end - at < size) {
          this.#header = Buffer.from(bytes.subarray(at, end))
          return
        }
        this.#first = bytes[at]!
        this.#length = second < 126 ? second : second === 126 ? bytes.readUInt16BE(at + 2) : Number(bytes.readBigUInt64BE(at + 2))
        at += size
        this.#left = this.#length
        if (this.#left > 0 && (this.reads || (this.#first & 8) !== 0 || this.#length === 1)) {
          this.#payload = Buffer.allocUnsafe(this.#length)
          this.#kept = 0
        }
      }
      const step = Math.min(this.#left, end - at)
      if (this.#payload !== undefined) this.#kept += bytes.copy(this.#payload, this.#kept, at, at + step)
      at += step
      this.#left -= step
      if (this.#left === 0) {
        const payload = this.#payload
        this.#payload = undefined
        this.#onFrame(this.#first, this.#length, payload)
      }
    }
  }
}
