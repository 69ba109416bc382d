import type { Test } from 'tap'
import { WebSocket, type ClientOptions } from 'ws'

export interface Message { type: string, [field: string]: any }

/** How a connection ended. */
export interface Closed { code: number, reason: string }

/**
 * A WebSocket client that is independent of this package's client. It queues messages, so that none is missed between two
 * awaits. `open` and `connect` create it, and terminate it when the test ends.
 */
export class TestClient {
  readonly ws: WebSocket
  /** All received messages in order, as text. */
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
    ws.on('error', () => { /* the `close` event follows */ })
    this.closed = new Promise((resolve) => {
      ws.on('close', (code, reason) => {
        resolve({ code, reason: reason.toString() })
        this.#stir()
      })
    })
  }

  /** Resolves with the next message, parsed. Rejects if the connection closes before a message arrives. */
  async next (): Promise<Message> {
    while (this.#taken === this.received.length) {
      if (this.ws.readyState === WebSocket.CLOSED) throw new Error('the connection closed, and no message was left')
      await new Promise<void>((resolve) => { this.#wake.push(resolve) })
    }
    return JSON.parse(this.received[this.#taken++]!) as Message
  }

  /** Resolves with the next message of this type. Skips the messages before it. */
  async nextOf (type: string): Promise<Message> {
    for (;;) {
      const message = await this.next()
      if (message.type === type) return message
    }
  }

  /** Received messages that were not taken yet. */
  get waiting (): Message[] {
    return this.received.slice(this.#taken).map((text) => JSON.parse(text) as Message)
  }

  send (message: object | string): void {
    this.ws.send(typeof message === 'string' ? message : JSON.stringify(message))
  }

  /**
   * Sends a ping message and returns the messages before its pong, which are those that the server sent before the reply. With
   * it, a test can check that no other message was sent, without waiting.
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

/** Opens a socket. If the connection is refused, `next` rejects, and `closed` resolves with the close code. */
export function open (t: Test, url: string, options: ClientOptions & { protocols?: string[] } = {}): TestClient {
  const { protocols = [], ...rest } = options
  const client = new TestClient(new WebSocket(url, protocols, rest))
  t.teardown(() => { client.ws.terminate() })
  return client
}

/** Opens a socket, and waits for the `connection` message and takes it. */
export async function connect (
  t: Test, url: string, options?: ClientOptions & { protocols?: string[] }
): Promise<TestClient & { clientId: string }> {
  const client = open(t, url, options)
  const { clientId } = await client.nextOf('connection')
  return Object.assign(client, { clientId: clientId as string })
}
