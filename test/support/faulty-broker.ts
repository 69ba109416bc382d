import type {
  Answers, Broker, BrokerNode, BrokerSettings, BrokerStatus, CancelResult, Joined, JoinOptions, Publication, Published, PublishOptions, Revocation, Stream
} from '../../lib/streams/broker.js'
import { andThen, type MaybePromise } from '../../lib/util/maybe-promise.js'

/** The faults of a broker. Each method receives the right value and returns the value to use instead. */
export interface Fault {
  /** Returns the publications to deliver instead of one. */
  readonly deliver?: (publication: Publication, count: number) => readonly Publication[]
  /** Delays a delivery by calling `deliver` later. */
  readonly delay?: (deliver: () => void) => void
  readonly options?: (options: PublishOptions) => PublishOptions
  readonly published?: (published: Published) => Published
  readonly joinOptions?: (options: JoinOptions | undefined) => JoinOptions | undefined
  readonly joined?: (joined: Joined, options: JoinOptions) => Joined
  readonly revoke?: () => void
  /** Returns the result of `revoke`. */
  readonly revoked?: (revoked: MaybePromise<void>) => MaybePromise<void>
  readonly canLoseHistory?: boolean
  readonly unsupported?: readonly string[]
  readonly cancel?: () => CancelResult
  readonly answers?: (answers: Answers) => Answers
  readonly adopt?: (adopted: boolean) => boolean
  readonly release?: (released: boolean) => boolean
  readonly currentJob?: (jobId: string | undefined) => string | undefined
  readonly leave?: (leave: () => void) => void
  /** Returns the methods that the broker calls instead of those of its node. */
  readonly node?: (node: BrokerNode) => Partial<BrokerNode>
  /** A stream that the broker joins by itself. */
  readonly joins?: Stream
  readonly status?: (status: BrokerStatus) => BrokerStatus
  readonly close?: (close: () => MaybePromise<void>) => MaybePromise<void>
}

/** A number of recipients that is higher than any test expects. */
const MANY = 100

/** A broker that has one fault and otherwise behaves correctly. */
export class FaultyBroker implements Broker {
  readonly canLoseHistory: boolean
  readonly unsupported: readonly string[]
  readonly inner: Broker
  readonly #fault: Fault
  #deliveries = 0

  constructor (inner: Broker, fault: Fault) {
    this.inner = inner
    this.#fault = fault
    this.canLoseHistory = fault.canLoseHistory ?? inner.canLoseHistory ?? false
    this.unsupported = fault.unsupported ?? inner.unsupported ?? []
  }

  open (node: BrokerNode, settings: BrokerSettings): MaybePromise<void> {
    const { deliver = (publication) => [publication], delay, joins } = this.#fault
    const opened = this.inner.open({
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
      answer: (question) => node.answer(question),
      statusChanged: (status) => { node.statusChanged(status) },
      ...this.#fault.node?.(node)
    }, settings)
    return joins === undefined ? opened : andThen(opened, () => andThen(this.inner.join(joins), () => undefined))
  }

  publish (stream: Stream, body: string, options: PublishOptions): MaybePromise<Published> {
    return andThen(this.inner.publish(stream, body, this.#fault.options?.(options) ?? options), (published) => this.#fault.published?.(published) ?? published)
  }

  join (stream: Stream, options?: JoinOptions): MaybePromise<Joined> {
    const given = this.#fault.joinOptions === undefined ? options : this.#fault.joinOptions(options)
    return andThen(this.inner.join(stream, given), (joined) => this.#fault.joined?.(joined, options ?? {}) ?? joined)
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
    if (this.#fault.revoke !== undefined) {
      this.#fault.revoke()
      return
    }
    const revoked = this.inner.revoke(revocation)
    return this.#fault.revoked === undefined ? revoked : this.#fault.revoked(revoked)
  }

  cancel (stream: Stream, jobId: string): MaybePromise<CancelResult> {
    return this.#fault.cancel === undefined ? this.inner.cancel(stream, jobId) : this.#fault.cancel()
  }

  ask (question: string): MaybePromise<Answers> {
    return andThen(this.inner.ask(question), (answers) => this.#fault.answers?.(answers) ?? answers)
  }

  status (): BrokerStatus {
    const status = this.inner.status?.() ?? { state: 'ready' }
    return this.#fault.status?.(status) ?? status
  }

  close (): MaybePromise<void> {
    const close = (): MaybePromise<void> => this.inner.close()
    return this.#fault.close === undefined ? close() : this.#fault.close(close)
  }
}
