import { randomBytes } from 'node:crypto'
import { connect as connectTcp, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import type { Test } from 'tap'

/** A connection that exposes the bytes that the server sends. Without TLS it keeps its side open after the server has ended its own. */
export class RawConnection {
  readonly socket: Socket
  /** Everything that was received. */
  text = ''
  readonly ended: Promise<void>
  readonly closed: Promise<void>
  readonly #stirred: Array<() => void> = []

  constructor (t: Test, port: number, ca?: string) {
    this.socket = ca === undefined
      ? connectTcp({ port, host: '127.0.0.1', allowHalfOpen: true })
      : connectTls({ port, host: '127.0.0.1', ca, ALPNProtocols: ['http/1.1'] })
    t.teardown(() => { this.socket.destroy() })
    this.socket.on('error', () => { /* the `close` event follows */ })
    this.socket.on('data', (chunk: Buffer) => {
      this.text += chunk.toString('latin1')
      this.#stir()
    })
    this.ended = new Promise((resolve) => { this.socket.once('end', resolve).once('close', resolve) })
    this.closed = new Promise((resolve) => {
      this.socket.once('close', () => {
        this.#stir()
        resolve()
      })
    })
  }

  write (text: string): this {
    this.socket.write(text, 'latin1')
    return this
  }

  /** Resolves with the received text as soon as it matches. Rejects if the connection closes before that. */
  async until (pattern: RegExp): Promise<string> {
    while (!pattern.test(this.text)) {
      if (this.socket.destroyed) throw new Error(`closed after ${JSON.stringify(this.text)}`)
      await new Promise<void>((resolve) => { this.#stirred.push(resolve) })
    }
    return this.text
  }

  #stir (): void {
    for (const resolve of this.#stirred.splice(0)) resolve()
  }
}

/** Returns the request of a WebSocket handshake (RFC 6455, section 4.1), or of another upgrade. */
export function upgradeRequest (line: string, { upgrade = 'websocket', connection = 'Upgrade', headers = [], body = '' }: {
  upgrade?: string
  connection?: string
  headers?: readonly string[]
  body?: string
} = {}): string {
  return [
    `${line} HTTP/1.1`, 'Host: app.example', `Connection: ${connection}`, `Upgrade: ${upgrade}`,
    'Sec-WebSocket-Version: 13', `Sec-WebSocket-Key: ${randomBytes(16).toString('base64')}`, ...headers, '', body
  ].join('\r\n')
}
