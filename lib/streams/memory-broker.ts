import type { MaybePromise } from '../util/maybe-promise.js'
import type { Broker, BrokerNode, ControlMessage, Evicted, Joined, ControlResult, Position, Published, PublishOptions, Stream } from './broker.js'
import { StreamStore, type StreamStoreOptions } from './stream-store.js'

/** The default broker. It serves one process, returns results synchronously, and keeps everything in memory within limits. */
export class MemoryBroker implements Broker {
  readonly #streams: StreamStore
  #node: BrokerNode | undefined

  constructor (options: StreamStoreOptions) {
    this.#streams = new StreamStore(options)
  }

  /** Bytes that all streams keep. */
  get bytes (): number {
    return this.#streams.bytes
  }

  get evicted (): Evicted {
    return this.#streams.evicted
  }

  open (node: BrokerNode): void {
    this.#node = node
  }

  publish (stream: Stream, body: string, options: PublishOptions): Published {
    let isKept: (() => boolean) | undefined
    const published = this.#streams.update<Published>(stream, (state) => {
      const accepted = state.publish(body, options)
      const { epoch, seq } = state
      if ('dropped' in accepted) return { epoch, seq, recipients: 0, dropped: accepted.dropped }
      const { publications, jobId } = accepted
      let recipients = 0
      for (const publication of publications) {
        recipients = this.#node?.deliver(stream, publication) ?? 0
        if (publication.durable) isKept = () => state.keeps(publication)
      }
      return jobId === undefined ? { epoch, seq, recipients } : { epoch, seq, recipients, jobId }
    })
    // Checked only now, because enforcing the limits may have evicted this publication.
    return isKept?.() === false ? { ...published, kept: false } : published
  }

  join (stream: Stream, since?: Position): Joined {
    const epoch = this.#streams.subscribe(stream)
    const state = this.#streams.find(stream)
    if (state !== undefined) return state.join(since)
    const recovered = since?.epoch === epoch && since.seq === 0
    return { epoch, seq: 0, revision: 0, replay: [], recovered, reason: recovered ? undefined : since === undefined ? 'new' : 'restarted' }
  }

  leave (stream: Stream): void {
    this.#streams.unsubscribe(stream)
  }

  currentJob (stream: Stream): string | undefined {
    return this.#streams.find(stream)?.currentJob
  }

  control (message: ControlMessage): MaybePromise<ControlResult> {
    return this.#node?.control(message) ?? false
  }

  close (): void {
    this.#node = undefined
    this.#streams.clear()
  }
}
