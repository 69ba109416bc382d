import type { Test } from 'tap'
import { WebSocket, type ClientOptions } from 'ws'

export interface Message { type: string, [field: string]: any }

/** How a connection ended. */
export interface Closed { code: number, reason: string }

/**
 * A client that is not ours: a ws socket with a queue, so that no message is missed between two awaits. Made by
 * `connect`, which ends it when the test does.
 */
export class TestClient {
  readonly ws: WebSocket
  /** Everything that came, in order, as text. */
  readonly received: string[] = []
  readonly closed: Promise<Closed>
  #taken = 0
  #wake: Array<() => void> = []

  constructor (ws: WebSocket) {
    this.ws = ws
    ws.on('message', (data: Buffer) => {
      this.received.push(data.toString())
      this.#stir()
    })
    ws.on('error', () => { /* its close tells */ })
    this.closed = new Promise((resolve) => {
      ws.on('close', (code, reason) => {
        resolve({ code, reason: reason.toString() })
        this.#stir()
      })
    })
  }

  /** The next message, parsed. Rejects when the connection closes before one comes. */
  async next (): Promise<Message> {
    while (this.#taken === this.received.length) {
      if (this.ws.readyState === WebSocket.CLOSED) throw new Error('the connection closed, and no message was left')
      await new Promise<void>((resolve) => { this.#wake.push(resolve) })
    }
    return JSON.parse(this.received[this.#taken++]!) as Message
  }

  /** The next message of this type; those before it are skipped. */
  async nextOf (type: string): Promise<Message> {
    for (;;) {
      const message = await this.next()
      if (message.type === type) return message
    }
  }

  /** Messages that came and were not taken yet. */
  get waiting (): Message[] {
    return this.received.slice(this.#taken).map((text) => JSON.parse(text) as Message)
  }

  send (message: object | string): void {
    this.ws.send(typeof message === 'string' ? message : JSON.stringify(message))
  }

  /**
   * Sends a ping message and takes everything up to its answer: what the server sent before it. The way to say "and
   * nothing else came" without waiting.
   */
  async sync (): Promise<Message[]> {
    this.send({ type: 'ping' })
    const before: Message[] = []
    for (;;) {
      const message = await this.next()
      if (message.type === 'pong') return before
      before.push(message)
    }
  }

  async close (): Promise<Closed> {
    this.ws.close()
    return this.closed
  }

  #stir (): void {
    for (const wake of this.#wake.splice(0)) wake()
  }
}

/** Opens a socket. It may be refused: `next` then rejects, and `closed` tells. */
export function open (t: Test, url: string, options: ClientOptions & { protocols?: string[] } = {}): TestClient {
  const { protocols = [], ...rest } = options
  const client = new TestClient(new WebSocket(url, protocols, rest))
  t.teardown(() => { client.ws.terminate() })
  return client
}

/** Opens a socket and waits for the `connection` message, which it takes. */
export async function connect (
  t: Test, url: string, options?: ClientOptions & { protocols?: string[] }
): Promise<TestClient & { clientId: string }> {
  const client = open(t, url, options)
  const { clientId } = await client.nextOf('connection')
  return Object.assign(client, { clientId: clientId as string })
}
