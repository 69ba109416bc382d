import { randomBytes } from 'node:crypto'
import { connect as connectTcp, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import type { Test } from 'tap'

/** A WebSocket frame, or a message of several frames (RFC 6455, sections 5.2 and 5.4). A server's frames are not masked. */
export interface RawFrame {
  /**
   * The first byte of the frame: `0x81` is a whole text message, and `0x88` is a close frame. The bit `0x40` means that the
   * message is deflated.
   */
  first: number
  payload: Buffer
}

export interface RawOptions {
  /** The value of the header `Sec-WebSocket-Extensions`. */
  extensions?: string
  /** The certificate to trust, for wss. */
  ca?: string
}

/**
 * A WebSocket client that does not reply by itself, neither with a pong nor with a close frame. It exposes the server's bytes,
 * and it can stop reading them.
 */
export class RawClient {
  readonly socket: Socket
  /** The head of the response to the upgrade request. */
  readonly answer: Promise<string>
  /** Resolves when the network connection has ended, whichever side has closed it. */
  readonly closed: Promise<void>
  /** The payloads of the pings that were received before the requested frame. */
  readonly pings: Buffer[] = []
  #bytes = Buffer.alloc(0)
  #wake: (() => void) | undefined
  #ended = false

  constructor (t: Test, url: string, { extensions, ca }: RawOptions = {}) {
    const { protocol, hostname, port, pathname, search } = new URL(url)
    this.socket = protocol === 'wss:'
      ? connectTls({ host: hostname, port: Number(port), ...ca !== undefined && { ca } })
      : connectTcp(Number(port), hostname)
    t.teardown(() => { this.socket.destroy() })
    this.socket.on('error', () => { /* the `close` event follows */ })
    this.closed = new Promise((resolve) => {
      this.socket.on('close', () => {
        this.#ended = true
        this.#wake?.()
        resolve()
      })
    })
    this.socket.on('data', (chunk: Buffer) => {
      this.#bytes = Buffer.concat([this.#bytes, chunk])
      this.#wake?.()
    })
    this.socket.write([
      `GET ${pathname}${search} HTTP/1.1`, `Host: ${hostname}:${port}`, 'Connection: Upgrade', 'Upgrade: websocket',
      'Sec-WebSocket-Version: 13', `Sec-WebSocket-Key: ${randomBytes(16).toString('base64')}`,
      ...extensions === undefined ? [] : [`Sec-WebSocket-Extensions: ${extensions}`], '', ''
    ].join('\r\n'))
    this.answer = this.#readHead()
    this.answer.catch(() => { /* avoids an unhandled rejection */ })
  }

  /**
   * Resolves with the next message, its fragments joined, or with the close frame. Records the pings before it. Rejects if the
   * connection ends before one is complete.
   */
  async frame (): Promise<RawFrame> {
    const parts: RawFrame[] = []
    for (;;) {
      const frame = await this.#frame()
      if (frame.first === 0x89) {
        this.pings.push(frame.payload)
      } else if (frame.first === 0x88) {
        return frame
      } else {
        parts.push(frame)
        if (frame.first >= 0x80) return { first: parts[0]!.first | 0x80, payload: Buffer.concat(parts.map(({ payload }) => payload)) }
      }
    }
  }

  /** Resolves with the next frame as it was received. */
  async #frame (): Promise<RawFrame> {
    await this.answer
    const [first, second] = await this.#peek(2)
    const length = second! & 0x7f
    const header = length < 126 ? 2 : length === 126 ? 4 : 10
    const head = await this.#peek(header)
    const size = length < 126 ? length : length === 126 ? head.readUInt16BE(2) : Number(head.readBigUInt64BE(2))
    const whole = await this.#peek(header + size)
    this.#bytes = this.#bytes.subarray(header + size)
    return { first: first!, payload: whole.subarray(header) }
  }

  /** Sends a short text message. A client's frames must be masked, and a mask of zeros does not change the bytes. */
  send (message: object): void {
    const payload = Buffer.from(JSON.stringify(message))
    if (payload.length > 125) throw new Error('longer than one length byte can say')
    this.socket.write(Buffer.concat([Buffer.from([0x81, 0x80 | payload.length, 0, 0, 0, 0]), payload]))
  }

  async #readHead (): Promise<string> {
    for (;;) {
      await this.#peek(this.#bytes.length + 1)
      const end = this.#bytes.indexOf('\r\n\r\n')
      if (end === -1) continue
      const head = this.#bytes.toString('latin1', 0, end)
      this.#bytes = this.#bytes.subarray(end + 4)
      return head
    }
  }

  async #peek (size: number): Promise<Buffer> {
    while (this.#bytes.length < size) {
      if (this.#ended) throw new Error('the connection ended in the middle')
      await new Promise<void>((resolve) => { this.#wake = resolve })
    }
    return this.#bytes.subarray(0, size)
  }
}
