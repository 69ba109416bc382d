import type { DropReason, Transition } from './session-jobs.js'
import type { JobText } from './job-text.js'
import type { MaybePromise } from '../util/maybe-promise.js'

/**
 * The Broker contract. A broker orders, numbers and keeps the messages of each stream, and passes them between the nodes
 * of an app.
 *
 * A broker owns the *order* of each stream. Every decision that must hold on all nodes is made in a single step, inside
 * `publish` or `join`: two separate steps on two nodes can always interleave.
 *
 * What a broker guarantees:
 *
 * 1. Total order. All nodes deliver a stream's publications in ascending order of `revision`, each exactly once.
 * 2. Numbers without gaps. Within an `epoch`, the `seq` of each durable publication is its predecessor's plus one. A new
 *    epoch begins when the numbering can't continue: the process restarted, or the stream was forgotten and then published
 *    to again.
 * 3. Atomic publish. `publish` numbers, keeps and forwards a message in one step. No `join` sees it half done.
 * 4. Atomic join. The result of `join` describes one point in the stream's order, its `revision`. It covers every
 *    publication with the same or a lower `revision`. The broker delivers every publication with a higher one to the node.
 *    For a publication that arrives while an asynchronous `join` is pending, `revision` decides whether it is covered.
 * 5. Joining has no side effects. Joining a stream that was never published to keeps nothing, and the returned position
 *    (`seq` 0) stays valid until the stream's first epoch ends.
 * 6. Job rules. A publication that reports on a job names the transition, and the broker checks it against the job's state
 *    in the same step. If two ends race, one of them is refused, and `publish` returns why in `dropped`.
 *    `SessionJobs` defines the rules.
 * 7. Bounded memory. The broker limits what it keeps in total, for one stream and for one message, so that no stream takes
 *    the memory of the others. If a limit prevents a recovery, `join` returns the `reason`. A job report that is too large
 *    to keep is delivered in full, and its `shortForm` is kept under the same `seq`, so that late subscribers still learn of
 *    it. Any other message that is too large is delivered but not kept. In both cases `publish` returns `kept: false`.
 * 8. Bodies stay as they are. A broker neither reads nor changes a body. The delivery layer adds the fields that the broker
 *    decides before the final `}` of a body, and the job's text before the last `}` but one of a progress.
 *
 * `publish`, `join` and `control` may return a promise. A broker in the same process should return plain values: a
 * connection then gets its messages in the order of the calls, and no message costs a turn of the event loop.
 *
 * Not part of the contract yet: leases. With many nodes, a job's producer can be lost together with its node. A node that
 * reports on a job would then hold a lease on it, and after the lease expires any node could publish the presumed end.
 */

/** The name of a stream: the messages of one session, of one user, or for everyone. */
export type Stream = `session:${string}` | `user:${string}` | 'all'

/** A position in a stream: the last message that a subscriber has received. `seq` 0 is before the first message. */
export interface Position {
  /**
   * Identifies one run of the stream's numbering. Numbers of different epochs can't be compared. Clients send it back in
   * `since`, so it must consist of 1 to 64 letters, digits, `_`, `.` and `-`.
   */
  readonly epoch: string
  readonly seq: number
}

export interface PublishOptions {
  /**
   * Whether the message is numbered, kept and recovered. Otherwise it is ephemeral and reaches only current subscribers.
   * A job's progress is always ephemeral, whatever this says.
   */
  readonly durable: boolean
  /** The job transition that the message reports. Absent if it is not about a job. */
  readonly job?: Transition
  /**
   * Progress only: the piece of text that it appends to the job's text. The body of a progress does not contain it. The delivery
   * layer inserts text into the object `progress`, before the last `}` but one of the body: no other object may follow.
   */
  readonly delta?: string | undefined
  /**
   * Job reports only: returns the short form of the message, which is kept if the whole message can't be. It is a body of a
   * few KiB at most, with some of the fields and `"truncated": true`. Must not throw. Called at most once, before `publish`
   * returns.
   */
  readonly shortForm?: (() => string) | undefined
}

/** A message with its place in a stream. */
export interface Publication {
  /** The text of a JSON object. The delivery layer adds the fields that the broker decides: `seq`, `jobId` and the text. */
  readonly body: string
  readonly durable: boolean
  /** Its place in the stream's order. Ephemeral publications count too. It is never sent to clients. */
  readonly revision: number
  /** Durable publications only. */
  readonly seq?: number | undefined
  readonly jobId?: string | undefined
  /** Whether this is the real end of a job whose end was presumed before. */
  readonly supersedes?: boolean | undefined
  /**
   * Progress only: the part of the job's text that this publication adds. Its `source` returns other parts. The delivery layer
   * inserts it into the body.
   */
  readonly text?: TextSpan | undefined
  /**
   * The frame for subscribers that missed this publication. The delivery layer builds it once and stores it here. The broker
   * never reads it.
   */
  recoveryFrame?: unknown
}

/** A range of a job's text, in UTF-16 units. */
export interface TextSpan {
  readonly source: JobText
  readonly from: number
  readonly to: number
}

/** The result of `publish`. Its position is the latest one in the stream. */
export interface Published extends Position {
  /** How many connections the message was passed to, as far as the broker knows. Includes at least those of this node. */
  readonly recipients: number
  readonly jobId?: string
  /** Why the job rules refused the message. A refused message is neither numbered nor delivered. */
  readonly dropped?: DropReason
  /** Present if there was no room to keep a durable message, or only room for its short form. */
  readonly kept?: false
}

/** Counts of what the broker discarded early because it had no room. Expired items are not counted. */
export interface Evicted {
  /** Durable messages. A client that missed one gets a recovery failure. */
  messages: number
  /** Starts of running jobs. A late subscriber sees such a job from its next report on. */
  starts: number
  /** Texts of jobs. A late subscriber gets only the text that follows, marked as `truncated`. */
  texts: number
  /** Ends of jobs. A late subscriber does not see them. */
  ends: number
  /** Starts, progress and ends that were reduced to their short forms. */
  shortened: number
  /** Streams that were forgotten. A client that reconnects gets the recovery failure `restarted`. */
  streams: number
}

/**
 * Why a subscriber can't be recovered.
 *
 * - `new`: it gave no position.
 * - `expired`: some of the messages that it missed are no longer kept.
 * - `restarted`: its position belongs to another epoch, or was never reached in this one.
 * - `overflow`: it missed more messages than the stream may keep.
 */
export type RecoveryFailure = 'new' | 'expired' | 'restarted' | 'overflow'

/** The result of `join`. Its position is the latest one in the stream. */
export interface Joined extends Position {
  /** The point in the stream's order that this result describes. */
  readonly revision: number
  /** Whether the subscriber can continue from `since` without a gap. `false` if there is no `since`. */
  readonly recovered: boolean
  /** Why it can't. Absent if `recovered` is `true`. */
  readonly reason?: RecoveryFailure | undefined
  /**
   * The publications that bring the subscriber up to date, in order. After a recovery these are the durable ones after
   * `since`. Otherwise they are the snapshot: the start of each running job, and the job end that came last. Both include
   * the newest progress of each running job, with its text from the beginning, and, before a job's end, the job's whole text.
   */
  readonly replay: readonly Publication[]
}

/** A command that every node carries out on its own connections and jobs. */
export type ControlMessage =
  | { readonly type: 'revoke', readonly userId: string, readonly sessionId?: string }
  | { readonly type: 'cancel', readonly sessionId: string, readonly jobId: string }

/**
 * The outcome of a control message: whether there was anything to do, or `'failed'` if that is unknown. The results of
 * several nodes combine to `true` if any is `true`, otherwise to `'failed'` if any is `'failed'`.
 */
export type ControlResult = boolean | 'failed'

/** What the server provides to its broker. No method throws or rejects. */
export interface BrokerNode {
  /** Delivers a publication to this node's subscribers and returns how many there are. */
  deliver (stream: Stream, publication: Publication): number
  /**
   * Reports that a joined stream has lost messages that were delivered to this node: its store came back empty, or without its
   * latest messages. The positions of connected subscribers are then ahead of the stream, and the next end would look like a
   * duplicate to them. The node joins the stream again and sends each subscriber its new position and a snapshot. Call it before
   * the first delivery of the new epoch.
   */
  restarted (stream: Stream): void
  /** Carries out a control message on this node. May take as long as the app's own hooks do. */
  control (message: ControlMessage): MaybePromise<ControlResult>
}

export interface Broker {
  /** Connects the broker to its node. Called once, before any other method. A rejection makes the app's start fail. */
  open (node: BrokerNode): MaybePromise<void>
  /** Publishes a message to a stream. A rejection means that the outcome is unknown: the message may have been published. */
  publish (stream: Stream, body: string, options: PublishOptions): MaybePromise<Published>
  /** Subscribes this node to a stream and returns what the subscriber missed. Called for each connection that subscribes. */
  join (stream: Stream, since?: Position): MaybePromise<Joined>
  /** Unsubscribes this node from a stream. Called when its last subscriber has left. */
  leave (stream: Stream): void
  /** Returns the job that a report without a `jobId` refers to: the newest running one. */
  currentJob (stream: Stream): MaybePromise<string | undefined>
  /** Sends a control message to every node, this one included. Returns their combined result. */
  control (message: ControlMessage): MaybePromise<ControlResult>
  /** Bytes that the broker keeps in this process. Absent if it keeps its data elsewhere. */
  readonly bytes?: number
  /** Evictions since the start. Absent if the broker does not count them. */
  readonly evicted?: Evicted
  /** Stops all delivery. Called once. */
  close (): MaybePromise<void>
}
