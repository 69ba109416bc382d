import type {
  Broker, BrokerNode, BrokerSettings, BrokerStatus, CancelResult, Joined, JoinOptions, Publication, Published, PublishOptions, Revocation, Stream
} from '../../lib/streams/broker.js'
import { andThen, type MaybePromise } from '../../lib/util/maybe-promise.js'

/** What a broker does wrong. Each method gets the right value and returns what is used instead. */
export interface Fault {
  /** Publications to deliver in the place of one. */
  readonly deliver?: (publication: Publication, count: number) => readonly Publication[]
  /** Delivers by calling `deliver` some time later. */
  readonly delay?: (deliver: () => void) => void
  readonly options?: (options: PublishOptions) => PublishOptions
  readonly published?: (published: Published) => Published
  readonly joinOptions?: (options: JoinOptions | undefined) => JoinOptions | undefined
  readonly joined?: (joined: Joined) => Joined
  readonly revoke?: () => void
  readonly cancel?: () => CancelResult
  readonly adopt?: (adopted: boolean) => boolean
  readonly release?: (released: boolean) => boolean
  readonly currentJob?: (jobId: string | undefined) => string | undefined
  readonly leave?: (leave: () => void) => void
}

/** A number of recipients that no test expects more of. */
const MANY = 100

/** A broker that makes one fault, and is right otherwise. */
export class FaultyBroker implements Broker {
  readonly canLoseHistory: boolean
  readonly inner: Broker
  readonly #fault: Fault
  #deliveries = 0

  constructor (inner: Broker, fault: Fault) {
    this.inner = inner
    this.#fault = fault
    this.canLoseHistory = inner.canLoseHistory ?? false
  }

  open (node: BrokerNode, settings: BrokerSettings): MaybePromise<void> {
    const { deliver = (publication) => [publication], delay } = this.#fault
    return this.inner.open({
      deliver: (stream, publication) => {
        let recipients = MANY
        for (const each of deliver(publication, ++this.#deliveries)) {
          if (delay === undefined) recipients = node.deliver(stream, each)
          else delay(() => { node.deliver(stream, each) })
        }
        return recipients
      },
      restarted: (stream) => { node.restarted(stream) },
      reseed: () => node.reseed(),
      orphaned: (...args) => { node.orphaned(...args) },
      disowned: (...args) => { node.disowned(...args) },
      revoke: (revocation) => { node.revoke(revocation) },
      cancel: (...args) => node.cancel(...args),
      statusChanged: (status) => { node.statusChanged(status) }
    }, settings)
  }

  publish (stream: Stream, body: string, options: PublishOptions): MaybePromise<Published> {
    return andThen(this.inner.publish(stream, body, this.#fault.options?.(options) ?? options), (published) => this.#fault.published?.(published) ?? published)
  }

  join (stream: Stream, options?: JoinOptions): MaybePromise<Joined> {
    const given = this.#fault.joinOptions === undefined ? options : this.#fault.joinOptions(options)
    return andThen(this.inner.join(stream, given), (joined) => this.#fault.joined?.(joined) ?? joined)
  }

  leave (stream: Stream): void {
    const leave = (): void => { this.inner.leave(stream) }
    if (this.#fault.leave === undefined) leave()
    else this.#fault.leave(leave)
  }

  currentJob (stream: Stream): MaybePromise<string | undefined> {
    return andThen(this.inner.currentJob(stream), (jobId) => this.#fault.currentJob === undefined ? jobId : this.#fault.currentJob(jobId))
  }

  adopt (stream: Stream, jobId: string): MaybePromise<boolean> {
    return andThen(this.inner.adopt(stream, jobId), (adopted) => this.#fault.adopt?.(adopted) ?? adopted)
  }

  release (stream: Stream, jobId: string): MaybePromise<boolean> {
    return andThen(this.inner.release(stream, jobId), (released) => this.#fault.release?.(released) ?? released)
  }

  revoke (revocation: Revocation): MaybePromise<void> {
    if (this.#fault.revoke === undefined) return this.inner.revoke(revocation)
    this.#fault.revoke()
  }

  cancel (stream: Stream, jobId: string): MaybePromise<CancelResult> {
    return this.#fault.cancel === undefined ? this.inner.cancel(stream, jobId) : this.#fault.cancel()
  }

  status (): BrokerStatus {
    return this.inner.status?.() ?? { state: 'ready' }
  }

  close (): MaybePromise<void> {
    return this.inner.close()
  }
}
