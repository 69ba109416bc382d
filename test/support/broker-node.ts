import type { BrokerNode, ControlMessage, ControlResult, Publication, Stream } from '../../lib/streams/broker.js'
import type { MaybePromise } from '../../lib/util/maybe-promise.js'

export interface Delivery { stream: Stream, publication: Publication }

/** A broker's node that records all calls. A broker may deliver after its result, so the records can be awaited. */
export class FakeNode implements BrokerNode {
  /** Number of subscribers that `deliver` returns. */
  subscribers = 0
  /** Result that `control` returns. */
  result: ControlResult = true
  readonly deliveries: Delivery[] = []
  readonly controls: ControlMessage[] = []
  readonly restarts: Stream[] = []
  #wake: Array<() => void> = []

  deliver (stream: Stream, publication: Publication): number {
    this.deliveries.push({ stream, publication })
    this.#stir()
    return this.subscribers
  }

  restarted (stream: Stream): void {
    this.restarts.push(stream)
    this.#stir()
  }

  /** A `cancel` returns a promise, as the contract allows. */
  control (message: ControlMessage): MaybePromise<ControlResult> {
    this.controls.push(message)
    this.#stir()
    return message.type === 'cancel' ? Promise.resolve(this.result) : this.result
  }

  /** Waits for the publication with this body. Returns the publications of its stream up to it. */
  async until (stream: Stream, body: string): Promise<Publication[]> {
    for (;;) {
      const publications = this.deliveries.filter((delivery) => delivery.stream === stream).map(({ publication }) => publication)
      const at = publications.findIndex((publication) => publication.body === body)
      if (at >= 0) return publications.slice(0, at + 1)
      await this.#news()
    }
  }

  async nextControl (): Promise<ControlMessage> {
    for (;;) {
      const message = this.controls.shift()
      if (message !== undefined) return message
      await this.#news()
    }
  }

  #news (): Promise<void> {
    return new Promise((resolve) => { this.#wake.push(resolve) })
  }

  #stir (): void {
    for (const wake of this.#wake.splice(0)) wake()
  }
}
