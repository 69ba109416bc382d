import { constants, inflateRawSync } from 'node:zlib'
import { closeCodes } from '../../lib/protocol/codes.js'
import type { Message } from '../support/ws-client.js'

/** Codes that a close frame may contain: all of the table except those that represent a missing code. */
const SENDABLE = new Set<number>(Object.values(closeCodes).map(({ code }) => code).filter((code) => code !== 1005 && code !== 1006))
/**
 * HTTP statuses of valid responses to an invalid request. 500 is not among them, because it means an error that the server did not
 * expect.
 */
const STATUSES = new Set([100, 101, 200, 204, 400, 401, 403, 404, 405, 408, 411, 413, 414, 415, 417, 426, 431, 501, 503, 505])

/** A strict parser of a server's bytes. It throws on every deviation from HTTP, RFC 6455 and the protocol. */
export class ServerAnswer {
  readonly messages: Message[] = []
  status: number | undefined
  closedWith: number | undefined
  readonly #read: (text: string) => Message
  #bytes = Buffer.alloc(0)
  #mayDeflate = false

  /** `read` checks a message against the schemas. */
  constructor (read: (text: string) => Message) {
    this.#read = read
  }

  take (chunk: Buffer): void {
    this.#bytes = Buffer.concat([this.#bytes, chunk])
    if (this.status === undefined || this.status === 100) this.#readHead()
    if (this.status === 101) while (this.#readFrame());
  }

  #readHead (): void {
    const end = this.#bytes.indexOf('\r\n\r\n')
    if (end === -1) return
    const head = this.#bytes.toString('latin1', 0, end)
    this.#bytes = this.#bytes.subarray(end + 4)
    this.status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(head)?.[1])
    if (!STATUSES.has(this.status)) throw new Error(`an answer that does not belong there: ${head}`)
    if (/^sec-websocket-protocol: .*token/im.test(head)) throw new Error('the server answers with the token')
    this.#mayDeflate = /^sec-websocket-extensions: permessage-deflate/im.test(head)
  }

  #readFrame (): boolean {
    const bytes = this.#bytes
    if (bytes.length < 2) return false
    const [first, second] = bytes as unknown as [number, number]
    const short = second & 0x7f
    const header = short < 126 ? 2 : short === 126 ? 4 : 10
    if (bytes.length < header) return false
    const size = short < 126 ? short : short === 126 ? bytes.readUInt16BE(2) : Number(bytes.readBigUInt64BE(2))
    if (bytes.length < header + size) return false
    this.#bytes = bytes.subarray(header + size)
    if (second >= 0x80) throw new Error('the server masks a frame')
    this.#frame(first, bytes.subarray(header, header + size))
    return true
  }

  #frame (first: number, payload: Buffer): void {
    const opcode = first & 0x0f
    const isDeflated = (first & 0x40) !== 0
    if ((first & 0xb0) !== 0x80 || (isDeflated && (!this.#mayDeflate || opcode !== 1))) throw new Error(`a frame that begins with 0x${first.toString(16)}`)
    if (this.closedWith !== undefined) throw new Error('a frame after the close frame')
    if (opcode === 1) {
      const text = new TextDecoder('utf-8', { fatal: true }).decode(isDeflated ? inflated(payload) : payload)
      const message = this.#read(text)
      if ((message.type === 'connection') !== (this.messages.length === 0)) throw new Error(`connection is not the first message, or not the only one: ${text}`)
      this.messages.push(message)
    } else if (opcode === 8) {
      this.closedWith = payload.length === 0 ? 1005 : payload.readUInt16BE(0)
      // The server echoes the client's code if that code may be sent at all (RFC 6455, section 5.5.1).
      const isEcho = [3000, 4999, 1005, 2999].includes(this.closedWith)
      if (!SENDABLE.has(this.closedWith) && !isEcho) throw new Error(`a close frame with ${this.closedWith}`)
    } else if (opcode !== 9 && opcode !== 10) {
      throw new Error(`a frame with opcode ${opcode}`)
    }
  }
}

/** Inflates a message. It has no final block, and the sender omits its last four bytes (RFC 7692, section 7.2.1). */
function inflated (payload: Buffer): Buffer {
  return inflateRawSync(Buffer.concat([payload, Buffer.from([0, 0, 0xff, 0xff])]), { finishFlush: constants.Z_SYNC_FLUSH })
}
