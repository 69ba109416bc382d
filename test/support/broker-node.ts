import type { BrokerNode, ControlMessage, ControlResult, Publication, Stream } from '../../lib/streams/broker.js'
import type { MaybePromise } from '../../lib/util/maybe-promise.js'

export interface Delivery { stream: Stream, publication: Publication }

/** A broker's node that notes what it is given. A broker may deliver later than it answers, so the notes can be awaited. */
export class FakeNode implements BrokerNode {
  /** How many subscribers it says to have. */
  subscribers = 0
  /** What it says became of the orders that it is given. */
  obeys: ControlResult = true
  readonly deliveries: Delivery[] = []
  readonly orders: ControlMessage[] = []
  #wake: Array<() => void> = []

  deliver (stream: Stream, publication: Publication): number {
    this.deliveries.push({ stream, publication })
    this.#stir()
    return this.subscribers
  }

  /** A `cancel` takes a while, as it may. */
  control (message: ControlMessage): MaybePromise<ControlResult> {
    this.orders.push(message)
    this.#stir()
    return message.type === 'cancel' ? Promise.resolve(this.obeys) : this.obeys
  }

  /** What was delivered of a stream up to the publication with this body, once that is there. */
  async until (stream: Stream, body: string): Promise<Publication[]> {
    for (;;) {
      const publications = this.deliveries.filter((delivery) => delivery.stream === stream).map(({ publication }) => publication)
      const at = publications.findIndex((publication) => publication.body === body)
      if (at >= 0) return publications.slice(0, at + 1)
      await this.#news()
    }
  }

  async nextOrder (): Promise<ControlMessage> {
    for (;;) {
      const order = this.orders.shift()
      if (order !== undefined) return order
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
