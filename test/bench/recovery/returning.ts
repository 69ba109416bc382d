import { Client } from '../load/client.js'
import { clientFrame, TEXT } from '../load/frames.js'
import type { Subscriber } from './subscriber.js'

export interface ReturningOptions {
  readonly port: number
  readonly subscriber: Subscriber
  readonly localAddress: string
  readonly onMessage: (payload: Buffer) => void
}

/** A client whose connection is cut and made anew, and which keeps its place. */
export class Returning {
  readonly #options: ReturningOptions
  #client: Client | undefined

  constructor (options: ReturningOptions) {
    this.#options = options
  }

  get subscriber (): Subscriber {
    return this.#options.subscriber
  }

  /** Resolves when it is connected and follows. */
  connect (): Promise<void> {
    const { port, subscriber, localAddress, onMessage } = this.#options
    return new Promise((resolve, reject) => {
      const client = this.#client = new Client({
        port, localAddress, deflate: false, sessionId: undefined, subscribe: [],
        dialect: { path: subscriber.path(), greetings: 0, subscribe: () => '' }
      }, (error) => { if (this.#client === client) reject(error ?? new Error('no error')) })
      client.read()
      client.onMessage = (_first, payload = Buffer.alloc(0)) => {
        // What is still on its way when a connection is cut is lost with it.
        if (this.#client !== client) return
        const taken = subscriber.take(payload)
        if (taken === 'ready') resolve()
        else if (taken === 'message') onMessage(payload)
        else if (taken !== undefined) client.send(clientFrame(TEXT, taken.reply))
      }
    })
  }

  /** As a network does it: without a word. */
  cut (): void {
    const client = this.#client
    this.#client = undefined
    client?.destroy()
  }
}
