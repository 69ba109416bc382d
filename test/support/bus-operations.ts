import type { BrokerSettings, CancelResult, Joined, JoinOptions, Published, PublishOptions, Revocation, Stream } from '../../lib/streams/broker.js'
import { BusControl } from './bus-control.js'
import { BusHistory } from './bus-history.js'
import type { BusMember } from './bus-member.js'

/** Executes the calls to the store of the bus. Each call is one step. */
export class BusOperations {
  readonly history: BusHistory
  readonly control: BusControl
  readonly #members: ReadonlySet<BusMember>
  readonly #stallAfterMs: number

  constructor (members: ReadonlySet<BusMember>, settings: BrokerSettings) {
    this.#members = members
    this.#stallAfterMs = settings.stallAfterMs
    this.history = new BusHistory(settings)
    this.control = new BusControl(members, this.history, settings.clock)
  }

  publish (member: BusMember, stream: Stream, body: string, options: PublishOptions): Published {
    const { history } = this
    const { result, publications, disowned } = history.publish(member.name, stream, body, options)
    const { incarnation } = history
    for (const publication of publications) {
      for (const other of this.#members) {
        const token = other.joined.get(stream)
        if (token === undefined) continue
        other.post((receiver) => {
          // A publication that was lost with the history is not delivered any more.
          if (incarnation !== history.incarnation) return
          const recipients = receiver.deliver(stream, token, publication)
          if (other === member) result.recipients = recipients
        })
      }
    }
    this.control.disowned(stream, result.jobId ?? options.job?.jobId, disowned)
    return result
  }

  join (member: BusMember, stream: Stream, token: number, { since, have }: JoinOptions): Joined {
    member.joined.set(stream, token)
    return this.history.join(stream, since, have)
  }

  /** @param token Identifies the subscription that ends. */
  leave (member: BusMember, stream: Stream, token: number): void {
    if (member.joined.get(stream) === token) this.end(member, stream)
  }

  currentJob (stream: Stream): string | undefined {
    return this.history.currentJob(stream)
  }

  adopt (member: BusMember, stream: Stream, jobId: string): boolean {
    const adopted = this.history.adopt(member.name, stream, jobId)
    if (adopted !== false) this.control.disowned(stream, jobId, adopted.disowned === member.name ? undefined : adopted.disowned)
    return adopted !== false
  }

  release (member: BusMember, stream: Stream, jobId: string): boolean {
    const released = this.history.release(member.name, stream, jobId)
    if (released) this.control.released(stream, jobId, this.#stallAfterMs)
    return released
  }

  /** Waits for the jobs without an owner to be adopted. */
  awaitOwners (): void {
    for (const { stream, jobId, owner } of this.history.jobs) if (owner === undefined) this.control.released(stream, jobId, this.#stallAfterMs)
  }

  revoke (revocation: Revocation): Promise<void> {
    return this.control.revoke(revocation)
  }

  cancel (member: BusMember, stream: Stream, jobId: string): CancelResult | Promise<CancelResult> {
    return this.control.cancel(member, stream, jobId)
  }

  /** Ends a subscription. */
  end (member: BusMember, stream: Stream): void {
    member.joined.delete(stream)
    if (stream !== 'all' && ![...this.#members].some(({ joined }) => joined.has(stream))) this.history.unsubscribe(stream)
  }
}
