import type { Broker, BrokerNode, ControlMessage, ControlResult, Joined, Position, Published, PublishOptions, Stream } from '../../lib/streams/broker.js'
import type { MemoryBroker } from '../../lib/streams/memory-broker.js'
import type { Clock } from '../../lib/util/clock.js'
import type { MaybePromise } from '../../lib/util/maybe-promise.js'
import { memoryBroker } from './memory-broker.js'

/** A broker that can lose everything it keeps, as if its database had been emptied. Its node stays connected. */
export class LosingBroker implements Broker {
  readonly #clock: Clock
  readonly #joined = new Set<Stream>()
  #store: MemoryBroker
  #node: BrokerNode | undefined

  constructor (clock: Clock) {
    this.#clock = clock
    this.#store = memoryBroker(clock)
  }

  /** Loses everything, and reports it to the node. */
  lose (): void {
    this.#store.close()
    this.#store = memoryBroker(this.#clock)
    this.#store.open(this.#node!)
    for (const stream of this.#joined) this.#node!.restarted(stream)
  }

  open (node: BrokerNode): void {
    this.#node = node
    this.#store.open(node)
  }

  publish (stream: Stream, body: string, options: PublishOptions): Published {
    return this.#store.publish(stream, body, options)
  }

  join (stream: Stream, since?: Position): Joined {
    this.#joined.add(stream)
    return this.#store.join(stream, since)
  }

  leave (stream: Stream): void {
    this.#joined.delete(stream)
    this.#store.leave(stream)
  }

  currentJob (stream: Stream): string | undefined {
    return this.#store.currentJob(stream)
  }

  control (message: ControlMessage): MaybePromise<ControlResult> {
    return this.#store.control(message)
  }

  close (): void {
    this.#store.close()
  }
}
