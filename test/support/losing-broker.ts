import type { Answers, Broker, BrokerNode, CancelResult, Joined, JoinOptions, Published, PublishOptions, Revocation, Stream } from '../../lib/streams/broker.js'
import type { Clock } from '../../lib/util/clock.js'
import type { MaybePromise } from '../../lib/util/maybe-promise.js'
import { memoryBroker, type TestMemoryBroker } from './memory-broker.js'

/** A broker that can lose everything it keeps, as if its database had been emptied. Its node stays connected. */
export class LosingBroker implements Broker {
  readonly #clock: Clock
  readonly #joined = new Set<Stream>()
  #store: TestMemoryBroker
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

  join (stream: Stream, options?: JoinOptions): Joined {
    this.#joined.add(stream)
    return this.#store.join(stream, options)
  }

  leave (stream: Stream): void {
    this.#joined.delete(stream)
    this.#store.leave(stream)
  }

  currentJob (stream: Stream): string | undefined {
    return this.#store.currentJob(stream)
  }

  adopt (stream: Stream, jobId: string): boolean {
    return this.#store.adopt(stream, jobId)
  }

  release (stream: Stream, jobId: string): boolean {
    return this.#store.release(stream, jobId)
  }

  revoke (revocation: Revocation): void {
    this.#store.revoke(revocation)
  }

  cancel (stream: Stream, jobId: string): MaybePromise<CancelResult> {
    return this.#store.cancel(stream, jobId)
  }

  ask (question: string): Answers {
    return this.#store.ask(question)
  }

  close (): void {
    this.#store.close()
  }
}
