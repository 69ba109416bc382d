import { Client } from '../load/client.js'
import { clientFrame, TEXT } from '../load/frames.js'
import type { Subscriber } from './subscriber.js'

export interface ReturningOptions {
  /** Returns the port of the server for the next connection. */
  readonly port: () => number
  readonly subscriber: Subscriber
  readonly localAddress: string
  readonly onMessage: (payload: Buffer) => void
}

/** A client that is disconnected and reconnects, and keeps its position. */
export class Returning {
  readonly #options: ReturningOptions
  #client: Client | undefined

  constructor (options: ReturningOptions) {
    this.#options = options
  }

  get subscriber (): Subscriber {
    return this.#options.subscriber
  }

  /** Resolves when the client is connected and subscribed. */
  connect (): Promise<void> {
    const { port, subscriber, localAddress, onMessage } = this.#options
    return new Promise((resolve, reject) => {
      const client = this.#client = new Client({
        port: port(), localAddress, deflate: false, sessionId: undefined, subscribe: [],
        dialect: { path: subscriber.path(), greetings: 0, subscribe: () => '' }
      }, (error) => { if (this.#client === client) reject(error ?? new Error('no error')) })
      client.read()
      client.onMessage = (_first, payload = Buffer.alloc(0)) => {
        // Data in flight on a disconnected connection is lost.
        if (this.#client !== client) return
        const taken = subscriber.take(payload)
        if (taken === 'ready') resolve()
        else if (taken === 'message') onMessage(payload)
        else if (taken !== undefined) client.send(clientFrame(TEXT, taken.reply))
      }
    })
  }

  /** Disconnects without a close frame, like a failing network. */
  cut (): void {
    const client = this.#client
    this.#client = undefined
    client?.destroy()
  }
}
