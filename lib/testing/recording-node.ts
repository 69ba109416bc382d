import type { BrokerNode, BrokerStatus, CancelResult, Joined, Ownership, Publication, Revocation, Stream } from '../streams/broker.js'
import type { MaybePromise } from '../util/maybe-promise.js'
import { DEADLINE_MS, inTime } from './deadline.js'
import { received, type Received } from './received.js'

/** What happened at a node, in its order: the broker's calls of the node, and the test's calls of the broker. */
export type NodeEvent =
  | { readonly type: 'deliver', readonly stream: Stream, readonly message: Received }
  | { readonly type: 'restarted', readonly stream: Stream }
  | { readonly type: 'reseed' }
  | { readonly type: 'orphaned', readonly stream: Stream, readonly jobId: string, readonly ownership: Ownership }
  | { readonly type: 'disowned', readonly stream: Stream, readonly jobId: string }
  | { readonly type: 'revoke', readonly revocation: Revocation }
  | { readonly type: 'cancel', readonly stream: Stream, readonly jobId: string }
  | { readonly type: 'answer', readonly question: string }
  | { readonly type: 'statusChanged', readonly status: BrokerStatus }
  | { readonly type: 'join', readonly stream: Stream }
  | { readonly type: 'joined', readonly stream: Stream, readonly joined: Joined }
  | { readonly type: 'leave', readonly stream: Stream }
  | { readonly type: 'closed' }

export type EventOf<T extends NodeEvent['type']> = Extract<NodeEvent, { readonly type: T }>

/** Number of the latest events that an error about a wait shows. */
const SHOWN_EVENTS = 20
/** Number of characters of a body that an error shows. */
export const SHOWN_UNITS = 100

/** A broker's node that records what happens. A broker may deliver after its result, so the records can be awaited. */
export class RecordingNode implements BrokerNode {
  /** Number of subscribers that `deliver` returns. */
  subscribers = 0
  /** Result that `cancel` returns, as a promise. */
  cancelResult: CancelResult = true
  /** Result that `answer` returns. */
  answered = ''
  /** What the node does when its store has lost history. */
  onRestarted: (stream: Stream) => void = () => undefined
  onReseed: () => Promise<void> = () => Promise.resolve()
  readonly events: NodeEvent[] = []
  readonly #deadlineMs: number
  #waiting: Array<() => void> = []

  constructor (deadlineMs = DEADLINE_MS) {
    this.#deadlineMs = deadlineMs
  }

  deliver (stream: Stream, publication: Publication): number {
    this.record({ type: 'deliver', stream, message: received(publication) })
    return this.subscribers
  }

  restarted (stream: Stream): void {
    this.record({ type: 'restarted', stream })
    this.onRestarted(stream)
  }

  /** Never rejects, as the contract says. A test misses what it could not publish. */
  async reseed (): Promise<void> {
    this.record({ type: 'reseed' })
    await this.onReseed().catch(() => undefined)
  }

  orphaned (stream: Stream, jobId: string, ownership: Ownership): void {
    this.record({ type: 'orphaned', stream, jobId, ownership })
  }

  disowned (stream: Stream, jobId: string): void {
    this.record({ type: 'disowned', stream, jobId })
  }

  revoke (revocation: Revocation): void {
    this.record({ type: 'revoke', revocation })
  }

  cancel (stream: Stream, jobId: string): MaybePromise<CancelResult> {
    this.record({ type: 'cancel', stream, jobId })
    return Promise.resolve(this.cancelResult)
  }

  answer (question: string): string {
    this.record({ type: 'answer', question })
    return this.answered
  }

  statusChanged (status: BrokerStatus): void {
    this.record({ type: 'statusChanged', status })
  }

  record (event: NodeEvent): void {
    this.events.push(event)
    for (const wake of this.#waiting.splice(0)) wake()
  }

  /** Returns the events of one type. */
  all<T extends NodeEvent['type']> (type: T): Array<EventOf<T>> {
    return this.events.filter((event): event is EventOf<T> => event.type === type)
  }

  /** The revocations that it was told. */
  get revocations (): Revocation[] {
    return this.all('revoke').map(({ revocation }) => revocation)
  }

  /** Returns what was delivered of one stream. */
  received (stream: Stream): Received[] {
    return this.all('deliver').filter((event) => event.stream === stream).map(({ message }) => message)
  }

  /** Waits for the publication with this body. Returns the publications of its stream up to it. */
  until (stream: Stream, body: string): Promise<Received[]> {
    return this.waitFor(`the delivery of ${body.slice(0, SHOWN_UNITS)} in ${stream}`, () => {
      const messages = this.received(stream)
      const at = messages.findIndex((message) => message.body === body)
      return at < 0 ? undefined : messages.slice(0, at + 1)
    })
  }

  /** Waits until `find` returns a value. It is called after each event. Rejects with `what` in the message if that takes too long. */
  waitFor<T> (what: string, find: () => T | undefined): Promise<T> {
    return inTime(this.#deadlineMs, this.#find(find), () => `${what} did not happen. The node's latest events are: ${this.#latest()}`)
  }

  async #find<T> (find: () => T | undefined): Promise<T> {
    for (;;) {
      const found = find()
      if (found !== undefined) return found
      await new Promise<void>((resolve) => { this.#waiting.push(resolve) })
    }
  }

  #latest (): string {
    return this.events.slice(-SHOWN_EVENTS).map(describe).join(', ') || 'none'
  }
}

/** Describes an event in a few words. */
function describe (event: NodeEvent): string {
  const parts: string[] = [event.type]
  if ('stream' in event) parts.push(event.stream)
  if ('jobId' in event) parts.push(event.jobId)
  if (event.type === 'deliver') parts.push(event.message.body.slice(0, SHOWN_UNITS), `(revision ${event.message.revision})`)
  if (event.type === 'joined') parts.push(`(revision ${event.joined.revision})`)
  return parts.join(' ')
}
