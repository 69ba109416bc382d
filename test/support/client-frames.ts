import type { RawFrame } from './raw-client.js'

/** Parts of the first byte of a frame (RFC 6455, section 5.2): the bit that marks the end of a message, and the opcodes. */
export const FIN = 0x80
export const CONTINUATION = 0x0
export const TEXT = 0x1
export const BINARY = 0x2
export const CLOSE = 0x8
export const PING = 0x9

export interface FrameOptions {
  /** Whether the frame is masked, as a client's frames must be. @default true */
  masked?: boolean
  /** The payload length in the header. @default the actual length */
  length?: number
}

/** Returns the bytes of a client's frame, which may be invalid. The mask consists of zeros, so it does not change the payload. */
export function clientFrame (first: number, payload: Buffer | string = '', options: FrameOptions = {}): Buffer {
  const bytes = Buffer.from(payload)
  const { masked = true, length = bytes.length } = options
  const mask = masked ? 0x80 : 0
  let header
  if (length < 126) {
    header = Buffer.from([first, mask | length])
  } else if (length < 65_536) {
    header = Buffer.from([first, mask | 126, 0, 0])
    header.writeUInt16BE(length, 2)
  } else {
    header = Buffer.from([first, mask | 127, 0, 0, 0, 0, 0, 0, 0, 0])
    header.writeBigUInt64BE(BigInt(length), 2)
  }
  return Buffer.concat([header, Buffer.alloc(masked ? 4 : 0), bytes])
}

/** Returns a frame that contains a whole text message. */
export function textFrame (message: object | string): Buffer {
  return clientFrame(FIN | TEXT, typeof message === 'string' ? message : JSON.stringify(message))
}

/** Returns the code and the reason of a close frame. */
export function readClose ({ first, payload }: RawFrame): { code: number, reason: string } {
  if (first !== (FIN | CLOSE)) throw new Error(`no close frame, but one that begins with 0x${first.toString(16)}`)
  return { code: payload.readUInt16BE(0), reason: payload.toString('utf8', 2) }
}
