import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Test } from 'tap'
import { WebSocketServer, type WebSocket } from 'ws'
import type { Message } from './ws-client.js'

/**
 * A server that speaks the protocol and misbehaves on command: a real ws server on a real port, so that a client is tested
 * through real sockets. It keeps one stream per session, with an epoch and a log, as the real one does.
 *
 * How to extend it: a fault is a field that a test sets, read at the one place where the server would do right. What a
 * message does is in `#receive`, what a newcomer gets in `#welcome`.
 */
export class FakeServer {
  /** Close each newcomer with this code, before `connection`. */
  refuse: { code: number, reason: string } | undefined
  /** Take newcomers and say nothing to them, not even `connection`. */
  stall = false
  /** Say everything that is published this often. */
  copies = 1
  /** Hold back so many messages and send them behind the next one. */
  swap = false
  /** Subprotocols and queries of all who came. */
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

  /** Sends a session what is neither numbered nor kept. */
  say (sessionId: string, message: object): void {
    this.#deliver(sessionId, JSON.stringify({ ...message, sessionId, timestamp: new Date().toISOString() }))
  }

  /** Loses the next message of a session on its way. */
  lose (sessionId: string, message: object): void {
    const log = this.#log(sessionId)
    log.push({ ...message, sessionId, timestamp: new Date().toISOString(), seq: log.length + 1 })
  }

  /** Cuts every connection, without a close frame, or with a code. */
  cut (code?: number, reason?: string): void {
    for (const socket of this.#server.clients) {
      if (code === undefined) socket.terminate()
      else socket.close(code, reason)
    }
  }

  /** Forgets everything and begins another life. */
  restart (): void {
    this.#life++
    this.#logs = new Map()
    this.cut(1012, 'Server restart')
  }

  /** Resolves when the condition holds; looked at whenever something came. */
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

/** One that listens, and is closed when the test ends. */
export async function startFakeServer (t: Test): Promise<FakeServer> {
  const server = new FakeServer()
  await server.listen()
  t.teardown(() => server.close())
  return server
}
