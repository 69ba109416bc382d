import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Test } from 'tap'
import { WebSocketServer, type WebSocket } from 'ws'
import type { Message } from './ws-client.js'

/**
 * A fake server that implements the protocol and misbehaves on command. It is a real ws server on a real port, so that a client
 * is tested through real sockets. It keeps one stream per session, with an epoch and a log, like the real server.
 *
 * To add a fault, add a field that a test sets, and read it at the one place where the server would behave correctly.
 * `#receive` handles the messages of a client, and `#welcome` handles a new connection.
 */
export class FakeServer {
  /** If set, the server closes each new connection with this code before it sends `connection`. */
  refuse: { code: number, reason: string } | undefined
  /** Whether the server accepts new connections without sending anything, not even `connection`. */
  stall = false
  /** How often the server sends each message that is published. */
  copies = 1
  /** Whether the server holds back a message and sends it after the next one. */
  swap = false
  /** Subprotocols and query of each handshake. */
  readonly handshakes: Array<{ protocols: string[], query: Record<string, string> }> = []
  readonly received: Message[] = []
  readonly #http: Server
  readonly #server: WebSocketServer
  readonly #followers = new Map<WebSocket, Set<string>>()
  #logs = new Map<string, object[]>()
  #held: string | undefined
  #life = 0
  #wake: Array<() => void> = []

  constructor () {
    this.#http = createServer()
    this.#server = new WebSocketServer({ server: this.#http, handleProtocols: () => 'ai-canvas.v1' })
    this.#server.on('connection', (socket, { url, headers }) => {
      const query = Object.fromEntries(new URL(url!, 'ws://x').searchParams)
      this.handshakes.push({ protocols: String(headers['sec-websocket-protocol']).split(/, ?/), query })
      this.#welcome(socket, query)
      this.#stir()
    })
  }

  async listen (): Promise<void> {
    this.#http.listen(0, '127.0.0.1')
    await once(this.#http, 'listening')
  }

  async close (): Promise<void> {
    this.cut()
    this.#server.close()
    this.#http.close()
    await once(this.#http, 'close')
  }

  get url (): string {
    return `ws://127.0.0.1:${(this.#http.address() as AddressInfo).port}/ws`
  }

  get connections (): number {
    return this.#server.clients.size
  }

  get epoch (): string {
    return `fake.${this.#life}`
  }

  /** Publishes a numbered message to a session. */
  publish (sessionId: string, message: object): void {
    const log = this.#log(sessionId)
    const entry = { ...message, sessionId, timestamp: new Date().toISOString(), seq: log.length + 1 }
    log.push(entry)
    this.#deliver(sessionId, JSON.stringify(entry))
  }

  /** Sends a session a message that is neither numbered nor kept. */
  say (sessionId: string, message: object): void {
    this.#deliver(sessionId, JSON.stringify({ ...message, sessionId, timestamp: new Date().toISOString() }))
  }

  /** Publishes a numbered message to a session without sending it, as if it were lost in transit. */
  lose (sessionId: string, message: object): void {
    const log = this.#log(sessionId)
    log.push({ ...message, sessionId, timestamp: new Date().toISOString(), seq: log.length + 1 })
  }

  /** Closes every connection with a code. Without a code, terminates every connection, so that no close frame is sent. */
  cut (code?: number, reason?: string): void {
    for (const socket of this.#server.clients) {
      if (code === undefined) socket.terminate()
      else socket.close(code, reason)
    }
  }

  /** Simulates a restart: clears the logs, begins a new epoch and closes every connection. */
  restart (): void {
    this.#life++
    this.#logs = new Map()
    this.cut(1012, 'Server restart')
  }

  /** Resolves when the condition is true. The condition is checked again after each handshake and each message. */
  async until (condition: () => boolean): Promise<void> {
    while (!condition()) await new Promise<void>((resolve) => { this.#wake.push(resolve) })
  }

  #log (sessionId: string): object[] {
    const log = this.#logs.get(sessionId) ?? []
    this.#logs.set(sessionId, log)
    return log
  }

  #welcome (socket: WebSocket, { sessionId, since }: Record<string, string>): void {
    if (this.refuse !== undefined) {
      socket.close(this.refuse.code, this.refuse.reason)
      return
    }
    if (this.stall) return
    const sessions = new Set<string>()
    this.#followers.set(socket, sessions)
    socket.on('close', () => { this.#followers.delete(socket) })
    socket.on('message', (data: Buffer) => {
      const message = JSON.parse(data.toString()) as Message
      this.received.push(message)
      this.#receive(socket, sessions, message)
      this.#stir()
    })
    const head = { type: 'connection', status: 'connected', clientId: 'fake', timestamp: new Date().toISOString() }
    if (sessionId === undefined) socket.send(JSON.stringify(head))
    else this.#join(socket, sessions, sessionId, since, head)
  }

  #receive (socket: WebSocket, sessions: Set<string>, { type, sessionId, since }: Message): void {
    const timestamp = new Date().toISOString()
    if (type === 'subscribe') this.#join(socket, sessions, sessionId as string, since as string | undefined, { type: 'subscribed', timestamp })
    if (type === 'unsubscribe') sessions.delete(sessionId as string)
    if (type === 'ping') socket.send(JSON.stringify({ type: 'pong', timestamp }))
  }

  #join (socket: WebSocket, sessions: Set<string>, sessionId: string, since: string | undefined, head: object): void {
    const log = this.#log(sessionId)
    const [epoch, seq] = since?.split(':') ?? []
    const recovered = epoch === this.epoch
    const replay = recovered ? log.slice(Number(seq)) : []
    const reason = since === undefined ? 'new' : 'restarted'
    socket.send(JSON.stringify({
      ...head, sessionId, epoch: this.epoch, seq: log.length, recovered, replaying: replay.length, ...(!recovered && { reason })
    }))
    for (const entry of replay) socket.send(JSON.stringify(entry))
    sessions.add(sessionId)
  }

  #deliver (sessionId: string, text: string): void {
    if (this.swap && this.#held === undefined) {
      this.#held = text
      return
    }
    const texts = [text, ...(this.#held === undefined ? [] : [this.#held])].flatMap((text) => Array<string>(this.copies).fill(text))
    this.#held = undefined
    for (const [socket, sessions] of this.#followers) if (sessions.has(sessionId)) for (const text of texts) socket.send(text)
  }

  #stir (): void {
    for (const wake of this.#wake.splice(0)) wake()
  }
}

/** Starts a fake server, which is closed when the test ends. */
export async function startFakeServer (t: Test): Promise<FakeServer> {
  const server = new FakeServer()
  await server.listen()
  t.teardown(() => server.close())
  return server
}
