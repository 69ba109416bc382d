import { randomBytes } from 'node:crypto'
import { connect, type Socket } from 'node:net'
import { clientFrame, CLOSE, FrameCounter, PING, PONG, TEXT } from './frames.js'

/** What a contender's clients must send besides the WebSocket handshake. */
export interface Dialect {
  readonly path: string
  /** Sent after the first message. */
  readonly hello?: string
  /** Number of messages before a connection counts as established. */
  readonly greetings: number
  readonly subscribe: (sessionId: string) => string
}

const plain: Dialect = { path: '/ws?x=1', greetings: 1, subscribe: (sessionId) => JSON.stringify({ type: 'subscribe', sessionId }) }

/** Engine.IO's open, Socket.IO's connect and the app's first message come first. */
const socketIo: Dialect = {
  path: '/socket.io/?EIO=4&transport=websocket',
  hello: '40',
  greetings: 3,
  subscribe: (sessionId) => `42${JSON.stringify(['subscribe', sessionId])}`
}

export function dialectOf (contender: string): Dialect {
  return contender === 'socket.io' ? socketIo : plain
}

export interface ClientOptions {
  readonly port: number
  readonly localAddress: string
  readonly dialect: Dialect
  /** Session id in the query of the upgrade request. */
  readonly sessionId: string | undefined
  /** Sessions to subscribe to by messages, which are sent after the greetings. */
  readonly subscribe: readonly string[]
  readonly deflate: boolean
}

/** Engine.IO's ping and its reply. */
const ENGINE_PING = '2'.charCodeAt(0)
const enginePong = clientFrame(TEXT, '3')
const PING_FRAME = clientFrame(PING, '')
const PONG_FRAME = clientFrame(PONG, '')

/**
 * All sockets share one read buffer: they are read one after the other, and data that must be kept is copied. It is large enough
 * for a tick and small enough for the cache.
 */
const shared = Buffer.allocUnsafe(64 * 1024)

/** One raw TCP socket that upgrades by hand and counts frames. */
export class Client {
  readonly #socket: Socket
  readonly #options: ClientOptions
  readonly #frames: FrameCounter
  #head = ''
  #upgraded = false
  #settling: number
  #messages = 0
  #closing = false
  /** Called when the client is connected and subscribed, or with the error. */
  #onReady: ((error?: Error) => void) | undefined
  /** Called for every later message. The payload is set if `read` was called. */
  onMessage: (first: number, payload: Buffer | undefined) => void = () => { /* the caller counts */ }
  onEnd: () => void = () => { /* nothing waits for it */ }
  #onPong: ((error?: Error) => void) | undefined

  constructor (options: ClientOptions, onReady: (error?: Error) => void) {
    this.#options = options
    this.#onReady = onReady
    this.#settling = options.dialect.greetings + options.subscribe.length
    this.#frames = new FrameCounter((first, length, payload) => { this.#frame(first, length, payload) })
    const { port, localAddress } = options
    this.#socket = connect({
      port, localAddress, host: '127.0.0.1', noDelay: true,
      onread: { buffer: shared, callback: (bytes, buffer) => this.#read(buffer as Buffer, bytes) }
    })
    this.#socket.on('connect', () => { this.#socket.write(this.#request()) })
    this.#socket.on('error', (error) => { this.#failed(error) })
    this.#socket.on('close', () => {
      this.#failed(new Error('the server closed the connection'))
      this.onEnd()
    })
  }

  /** Passes payloads to `onMessage` from now on. */
  read (): void {
    this.#frames.reads = true
  }

  send (frame: Buffer): void {
    this.#socket.write(frame)
  }

  /** Pings the server and replies to its pong, because the kernel acknowledges data differently if the peer has sent something. */
  answer (): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#onPong = (error) => {
        this.#onPong = undefined
        if (error !== undefined) {
          reject(error)
          return
        }
        this.send(PONG_FRAME)
        resolve()
      }
      this.send(PING_FRAME)
    })
  }

  pause (): void {
    this.#socket.pause()
  }

  /** Starts the closing handshake; `onEnd` is called at its end. */
  close (): void {
    this.#closing = true
    this.#socket.write(clientFrame(CLOSE, Buffer.from([0x03, 0xe8])))
  }

  destroy (): void {
    this.#socket.destroy()
  }

  #request (): string {
    const { port, dialect, sessionId, deflate } = this.#options
    return `GET ${dialect.path}${sessionId === undefined ? '' : `&sessionId=${sessionId}`} HTTP/1.1\r\n` +
      `Host: 127.0.0.1:${port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n` +
      `Sec-WebSocket-Key: ${randomBytes(16).toString('base64')}\r\n` +
      (deflate ? 'Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n' : '\r\n')
  }

  #read (buffer: Buffer, bytes: number): boolean {
    if (this.#upgraded) this.#frames.push(buffer, bytes)
    else this.#upgrade(buffer, bytes)
    return true
  }

  #upgrade (buffer: Buffer, bytes: number): void {
    this.#head += buffer.toString('latin1', 0, bytes)
    const end = this.#head.indexOf('\r\n\r\n')
    if (end < 0) return
    const head = this.#head.slice(0, end)
    const rest = Buffer.from(this.#head.slice(end + 4), 'latin1')
    this.#head = ''
    this.#upgraded = true
    if (!head.startsWith('HTTP/1.1 101')) this.#failed(new Error(`refused: ${head}`))
    else if (this.#options.deflate !== /permessage-deflate/i.test(head)) this.#failed(new Error(`deflate was not negotiated as requested: ${head}`))
    else this.#frames.push(rest, rest.length)
  }

  #frame (first: number, length: number, payload: Buffer | undefined): void {
    const opcode = first & 15
    if (opcode === PING) {
      this.send(clientFrame(PONG, payload ?? ''))
    } else if (opcode === PONG) {
      this.#onPong?.()
    } else if (opcode === CLOSE) {
      if (!this.#closing) this.close()
    } else if (opcode === TEXT && length === 1 && payload?.[0] === ENGINE_PING) {
      this.send(enginePong)
    } else if (opcode === TEXT) {
      if (this.#settling > 0) this.#settle()
      else this.onMessage(first, payload)
    }
  }

  #settle (): void {
    const { dialect, subscribe } = this.#options
    this.#messages++
    if (this.#messages === 1 && dialect.hello !== undefined) this.send(clientFrame(TEXT, dialect.hello))
    if (this.#messages === dialect.greetings && subscribe.length > 0) {
      this.send(Buffer.concat(subscribe.map((sessionId) => clientFrame(TEXT, dialect.subscribe(sessionId)))))
    }
    if (--this.#settling === 0) this.#ready()
  }

  #ready (error?: Error): void {
    const onReady = this.#onReady
    this.#onReady = undefined
    onReady?.(error)
  }

  #failed (error: Error): void {
    this.#socket.destroy()
    this.#ready(error)
    this.#onPong?.(error)
  }
}
