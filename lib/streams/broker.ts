import type { DropReason, Transition } from './session-jobs.js'
import type { JobText } from './job-text.js'
import type { MaybePromise } from '../util/maybe-promise.js'

/**
 * The Broker contract: where messages are ordered, numbered, kept, and passed between the nodes of an app.
 *
 * A broker owns the *order* of each stream. Everything that must be true for all nodes at once is decided in one step
 * inside `publish` or `join`, because two steps on two nodes always interleave somewhere.
 *
 * What a broker guarantees
 *
 * 1. One order. All nodes deliver a stream's publications in the order of their `revision`, each once.
 * 2. Numbers without holes. A durable publication's `seq` is its predecessor's plus one, within an `epoch`. A new epoch
 *    begins whenever the numbers can't go on: the process restarted, or the stream was forgotten and published again.
 * 3. Atomic publish. Numbering, keeping and handing on happen together: no join sees half of it.
 * 4. Atomic join. `join` answers for one point in the stream's order. A publication with a higher `revision` is
 *    delivered to the node after it; one with the same or a lower `revision` is covered by the answer. A publication
 *    that arrives while an asynchronous `join` is under way is told apart by exactly that.
 * 5. No effect of listening. Joining a stream that was never published to keeps nothing, and its position (`seq` 0)
 *    stays valid until the stream's first epoch ends.
 * 6. Jobs. A publication that reports on a job names the transition. It is checked against the job's state in the same
 *    step: of two ends that race one is refused, and `publish` says so. `jobs/job.ts` has the rules.
 * 7. Within bounds. Entries and states are kept within the broker's bounds; where a bound was passed, `join` says so. What
 *    one message and one stream may keep is bounded too, so that none takes the room of all. A report on a job that is too
 *    large to be kept is delivered whole, and its `stub` is kept in its place, with the same `seq`: a late reader still
 *    learns of it. Of any other message that is too large nothing is kept. `publish` says so with `kept: false`.
 *
 * `publish`, `join` and `control` may answer at once or with a promise. A broker in the same process should answer at
 * once: then order on a connection is the order of the calls, and a message costs no turn of the event loop.
 *
 * How it grows. With many nodes a job's producer can be lost with its node. Then leases come in beside `publish`: a node
 * that reports on a job holds it for a while, and when a lease runs out any node may publish the presumed end.
 */

export type Stream = `session:${string}` | `user:${string}` | 'all'

/** Where a reader is in a stream. `seq` 0 is before the first message. */
export interface Position {
  /** `<process>.<life of the stream>`: numbers of two epochs can't be compared. */
  readonly epoch: string
  readonly seq: number
}

export interface PublishOptions {
  /** Numbered, kept and recovered. Otherwise it reaches those who follow now. A job's progress never is, whatever this says. */
  readonly durable: boolean
  /** What it reports of a job. */
  readonly job?: Transition
  /** Of a progress: where in the body the job's text may be put in, right behind the progress's last field. */
  readonly textAt?: number
  /** Of a progress: the text that it brings. */
  readonly delta?: string | undefined
  /**
   * Of a report on a job: makes a short form of it, of a few KiB at most, that can be kept where the whole can't. It must not
   * throw. Called at most once, before `publish` returns.
   */
  readonly stub?: (() => Stub) | undefined
}

/** The short form of a message. */
export interface Stub {
  /** A JSON object's text, with `"truncated": true`. */
  readonly body: string
  /** Of a progress: where in this body the job's text may be put in. */
  readonly textAt?: number
}

export interface Publication {
  /** A JSON object's text. What the broker decides (`seq`, `jobId`, the text) is added by whoever frames it. */
  readonly body: string
  readonly durable: boolean
  /** Its place in the stream's order, ephemeral ones counted too. Never leaves the server. */
  readonly revision: number
  /** Durable publications only. */
  readonly seq?: number | undefined
  readonly jobId?: string | undefined
  /** Whether it is the real end of a job whose end was presumed before. */
  readonly supersedes?: boolean | undefined
  /** Of a progress: where in the body text may be put in. */
  readonly textAt?: number | undefined
  /** The text that it brings: this stretch, of a text that can be asked for more. */
  readonly text?: TextSpan | undefined
  /** The frame for readers that missed it, kept here so that the delivery layer builds it once. The broker never reads it. */
  made?: unknown
}

export interface TextSpan {
  readonly source: JobText
  readonly from: number
  readonly to: number
}

export interface Published extends Position {
  /** How many connections it was handed to, as far as the broker knows: always those of this node. */
  readonly recipients: number
  readonly jobId?: string
  /** Why it was not passed on: the job's rules did not allow it. */
  readonly dropped?: DropReason
  /** Given where a durable message was not kept as it is: there was no room for it, or only for its stub. */
  readonly kept?: false
}

/** What a broker let go of before its time because there was no room, as counts. What expires is not among it. */
export interface Evicted {
  /** Numbered messages: a client that missed one is told of a gap. */
  messages: number
  /** Starts of running jobs: a client that comes late sees such a job from its next report on. */
  starts: number
  /** Texts of jobs: a client that comes late is sent what follows, marked as `truncated`. */
  texts: number
  /** Ends of jobs: a client that comes late does not see them. */
  ends: number
  /** Starts, progress and ends of which only a stub is kept. */
  stubs: number
  /** Streams that were forgotten: a client that comes back is told `restarted`. */
  streams: number
}

export type RecoveryFailure = 'new' | 'expired' | 'restarted' | 'overflow'

export interface Joined extends Position {
  /** The point in the stream's order for which this answer is true. */
  readonly revision: number
  /** Whether the reader's `since` could be continued without a gap. False without `since`. */
  readonly recovered: boolean
  /** Why not: no position was given, its entries are gone, its epoch is gone, or there were too many to replay. */
  readonly reason?: RecoveryFailure | undefined
  /**
   * What the reader needs to be up to date, in order: what came after `since`, or without a recoverable position the
   * present state; in both cases the newest progress of each running job, with its text from the beginning.
   */
  readonly replay: readonly Publication[]
}

/** Orders that every node carries out on its own connections and jobs. */
export type ControlMessage =
  | { readonly type: 'revoke', readonly userId: string, readonly sessionId?: string }
  | { readonly type: 'cancel', readonly sessionId: string, readonly jobId: string }

/**
 * What became of an order: whether there was anything to do, or `failed` where that can't be known. Of the answers of many
 * nodes `true` counts first, then `failed`.
 */
export type ControlResult = boolean | 'failed'

/** What a broker needs of the node that it serves. Neither method throws or rejects. */
export interface BrokerNode {
  /** Takes a publication to this node's subscribers and answers how many they are. */
  deliver (stream: Stream, publication: Publication): number
  /** Carries an order out here. An order that the app has a say in may take as long as the app may. */
  control (message: ControlMessage): MaybePromise<ControlResult>
}

export interface Broker {
  /** Called once, before anything else. A rejection fails the app's start. */
  open (node: BrokerNode): MaybePromise<void>
  /** Rejects when it is not known that the message was taken; then it may or may not have been. */
  publish (stream: Stream, body: string, options: PublishOptions): MaybePromise<Published>
  /** Called for each connection that begins to follow. */
  join (stream: Stream, since?: Position): MaybePromise<Joined>
  /** Called when this node's last subscriber of the stream has gone. */
  leave (stream: Stream): void
  /** The job that a report without a `jobId` would be about: the newest running one. */
  currentJob (stream: Stream): MaybePromise<string | undefined>
  /** Reaches every node, this one included, and waits for what they answer. */
  control (message: ControlMessage): MaybePromise<ControlResult>
  /** What it keeps in this process, in bytes. Absent where that is elsewhere. */
  readonly bytes?: number
  /** What was evicted since the start. Absent where that is not known. */
  readonly evicted?: Evicted
  /** After it nothing is delivered. Called once. */
  close (): MaybePromise<void>
}
