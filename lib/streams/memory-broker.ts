import type { MaybePromise } from '../util/maybe-promise.js'
import type {
  Answers, Broker, BrokerNode, BrokerSettings, CancelResult, Evicted, Joined, JoinOptions, Published, PublishOptions, Revocation, Stream
} from './broker.js'
import { noEvictions } from './evictions.js'
import { StreamStore } from './stream-store.js'
import { UsedKeys } from './used-keys.js'

/** How many results are remembered, so that a repeated publication returns its first result. */
const REMEMBERED_RESULTS = 64

interface Opened {
  readonly node: BrokerNode
  readonly streams: StreamStore
  readonly keys: UsedKeys
}

/** The default broker. It serves one process, returns results synchronously, and keeps everything in memory within limits. */
export class MemoryBroker implements Broker {
  /** Results of the newest publications that have a `counter`, the oldest first. */
  readonly #results = new Map<number, Published>()
  #opened: Opened | undefined

  /** Bytes that all streams keep. */
  get bytes (): number {
    return this.#opened?.streams.bytes ?? 0
  }

  get evicted (): Evicted {
    return this.#opened?.streams.evicted ?? { ...noEvictions }
  }

  open (node: BrokerNode, { history, ...others }: BrokerSettings): void {
    this.#opened = { node, streams: new StreamStore({ ...history, ...others }), keys: new UsedKeys(others.clock) }
  }

  publish (stream: Stream, body: string, options: PublishOptions): Published {
    const { counter } = options
    if (counter === undefined) return this.#publishKeyed(stream, body, options)
    const first = this.#results.get(counter)
    if (first !== undefined) return first
    const published = this.#publishKeyed(stream, body, options)
    this.#results.set(counter, published)
    for (const oldest of this.#results.keys()) {
      if (this.#results.size <= REMEMBERED_RESULTS) break
      this.#results.delete(oldest)
    }
    return published
  }

  #publishKeyed (stream: Stream, body: string, options: PublishOptions): Published {
    const { key } = options
    if (key === undefined) return this.#publish(stream, body, options)
    const { keys } = this.#open
    const first = keys.find(stream, key)
    if (first !== undefined) return first
    const published = this.#publish(stream, body, options)
    keys.add(stream, options, published)
    return published
  }

  #publish (stream: Stream, body: string, options: PublishOptions): Published {
    const { node, streams } = this.#open
    let isKept: (() => boolean) | undefined
    const published = streams.update<Published>(stream, (state, isSubscribed) => {
      const accepted = state.publish(body, options)
      const { epoch, seq } = state
      if ('dropped' in accepted) return { epoch, seq, recipients: 0, dropped: accepted.dropped }
      const { publications, jobId } = accepted
      let recipients = 0
      for (const publication of publications) {
        if (isSubscribed || stream === 'all') recipients = node.deliver(stream, publication)
        if (publication.durable) isKept = () => state.keeps(publication)
      }
      return jobId === undefined ? { epoch, seq, recipients } : { epoch, seq, recipients, jobId }
    })
    // Checked only now, because enforcing the limits may have evicted this publication.
    return isKept?.() === false ? { ...published, kept: false } : published
  }

  join (stream: Stream, { since }: JoinOptions = {}): Joined {
    return this.#open.streams.join(stream, since)
  }

  leave (stream: Stream): void {
    this.#opened?.streams.unsubscribe(stream)
  }

  currentJob (stream: Stream): string | undefined {
    return this.#open.streams.find(stream)?.currentJob
  }

  /** The one node owns all jobs. */
  adopt (stream: Stream, jobId: string): boolean {
    return this.#open.streams.find(stream)?.ownerOf(jobId) !== undefined
  }

  /** The job is still this node's, which watches it. */
  release (stream: Stream, jobId: string): boolean {
    return this.adopt(stream, jobId)
  }

  revoke (revocation: Revocation): void {
    this.#open.node.revoke(revocation)
  }

  cancel (stream: Stream, jobId: string): MaybePromise<CancelResult> {
    return this.#open.node.cancel(stream, jobId)
  }

  ask (question: string): Answers {
    return { answers: [{ node: 'local', answer: this.#open.node.answer(question) }], missing: [] }
  }

  close (): void {
    this.#opened?.streams.clear()
    this.#opened = undefined
  }

  get #open (): Opened {
    if (this.#opened === undefined) throw new Error('the broker is not open')
    return this.#opened
  }
}
