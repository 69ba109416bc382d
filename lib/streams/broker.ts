import type { Clock } from '../util/clock.js'
import type { Logger } from '../util/logger.js'
import type { MaybePromise } from '../util/maybe-promise.js'
import type { History } from './history.js'
import type { DropReason, Ownership, Transition } from './session-jobs.js'

export type { Ownership }

/**
 * The Broker contract. A broker orders, numbers and keeps the messages of each stream, and passes them between the nodes
 * of an app. A node is a process with its own `Broker` object. The *store* is what the brokers of all nodes share.
 *
 * A broker owns the *order* of each stream. Every decision that must hold on all nodes is made in a single step, inside
 * `publish` or `join`: two separate steps on two nodes can always interleave.
 *
 * What a broker guarantees:
 *
 * 1. Total order. All nodes that have joined a stream deliver its publications in ascending order of `revision`, each exactly
 *    once. Other nodes do not deliver them. The stream `all` is never joined: every open node delivers it.
 * 2. Numbers without gaps. Within an `epoch`, the `seq` of each durable publication is its predecessor's plus one. A new epoch
 *    begins when the numbering can't continue: the store lost history, or the stream was forgotten and then published to again.
 * 3. Atomic publish. `publish` numbers, keeps and forwards a message in one step. No `join` sees it half done.
 * 4. Atomic join, which is a barrier. The result of `join` describes one point in the stream's order, its `revision`. Once
 *    `join` has returned, the broker delivers no publication with the same or a lower `revision` to this node, and every one
 *    with a higher one. For a publication that arrives while an asynchronous `join` is pending, `revision` decides whether the
 *    result covers it.
 * 5. Joining is cheap. What a broker keeps for a stream that was never published to is bounded, and it expires after the last
 *    node has left. Until then, the returned position (`seq` 0) stays valid until the stream's first epoch ends.
 * 6. Job rules. A publication that reports on a job names the transition, and the broker checks it against the job's state
 *    in the same step. If two ends race, one of them is refused, and `publish` returns why in `dropped`.
 *    `SessionJobs` defines the rules.
 * 7. Ownership. The node that reported last on a running job owns it. A refused `start` of a running job counts, too. An end that
 *    is only presumed is refused if another node owns the job, or has reported on it since.
 * 8. Idempotent publish. A publication with a `counter` that the node has used before is not published again: `publish` returns
 *    the result of the first attempt. The broker remembers at least the node's newest 64 results. So a publication whose outcome
 *    is unknown can be repeated. A `key` does the same for a request that any node may get: see `PublicationKey`.
 * 9. Lost history is reported. If the store loses what it had accepted, the broker begins a new epoch in each stream concerned
 *    and calls `restarted` and `reseed` of its node. Positions up to the part that survived stay valid. Running jobs that survived
 *    have no owner, because the store may have lost a change of it. They are orphaned like released ones, unless a node reports on
 *    them again, as in `reseed`.
 * 10. Revocations are durable. A node that was disconnected from the others carries out the revocations that it missed before it
 *    delivers anything.
 * 11. Bounded memory. The broker limits what it keeps in total, for one stream and for one message, so that no stream takes
 *    the memory of the others. If a limit prevents a recovery, `join` returns the `reason`. A job report that is too large
 *    to keep is delivered in full, and its `shortForm` is kept under the same `seq`, so that late subscribers still learn of
 *    it. Any other message that is too large is delivered but not kept. In both cases `publish` returns `kept: false`.
 * 12. Bodies stay as they are. A broker neither reads nor changes a body. The delivery layer adds the fields that the broker
 *    decides before the final `}` of a body, and the job's text before the last `}` but one of a progress.
 *
 * Most methods may return a promise. A broker in the same process should return plain values: a connection then gets its
 * messages in the order of the calls, and no message costs a turn of the event loop.
 *
 * `ai-canvas-ws/testing` exports tests of this contract.
 */

/** The name of a stream: the messages of one session, of one user, or for everyone. */
export type Stream = `session:${string}` | `user:${string}` | 'all'

/** A position in a stream: the last message that a subscriber has received. `seq` 0 is before the first message. */
export interface Position {
  /**
   * Identifies one run of the stream's numbering, and the incarnation of the store that it belongs to. It is opaque: only the
   * broker compares epochs. Clients send it back in `since`, so it must consist of 1 to 64 letters, digits, `_`, `.` and `-`.
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
   * Progress with a `jobId` only: the offset at which `delta` begins in the job's text, in UTF-16 units. The broker appends only
   * the part that it does not have. If it lacks text before the offset, it refuses the progress as a `gap`, and the node repeats
   * it with more text. Absent: `delta` follows the text that the broker has.
   */
  readonly from?: number | undefined
  /** Whether the node has no text before `from` either. Then there is no `gap`: the broker's text begins anew at `from`. */
  readonly truncated?: boolean | undefined
  /** Sequence number among the node's publications. A retry has the same number: see guarantee 8. Absent if it is never retried. */
  readonly counter?: number | undefined
  /** Idempotency key of the request that the publication carries out. Absent if the request is never repeated. */
  readonly key?: PublicationKey | undefined
  /**
   * Job reports only: returns the short form of the message, which is kept if the whole message can't be. It is a body of a
   * few KiB at most, with some of the fields and `"truncated": true`. Must not throw. Called at most once, before `publish`
   * returns.
   */
  readonly shortForm?: (() => string) | undefined
}

/**
 * Idempotency key of a publication. A publication with a key that has been used in the same stream, by any node, is not published
 * again: `publish` returns the first result, with `repeated`. If the `request` differs, `publish` returns `dropped: 'reused'`.
 *
 * A publication uses its key in the same step in which it is published. One that is refused does not use it, so that it can be
 * published later, unless it is a progress of a job that has `ended`: its text may be kept.
 *
 * The broker remembers a key for 10 minutes if the store has at most 10,000 keys. If it has more, it may forget the oldest. A store
 * that loses a publication loses its key, too.
 */
export interface PublicationKey {
  /** 1 to 256 visible ASCII characters. */
  readonly id: string
  /**
   * Digest of the request, 1 to 64 visible ASCII characters. A repeated request has the same one, although the bodies differ in their
   * timestamps.
   */
  readonly request: string
}

/** A message with its place in a stream. */
export interface Publication {
  /**
   * The JSON text of an object, as a string or in UTF-8. The delivery layer adds the fields that the broker decides: `seq`,
   * `jobId` and the text.
   */
  readonly body: string | Uint8Array
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
  readonly source: TextSource
  readonly from: number
  readonly to: number
}

/** The text of a job. Offsets count UTF-16 units, as JavaScript does. */
export interface TextSource {
  /** Length of the whole text, including the part that is no longer kept. */
  readonly end: number
  /** Length of the kept part, which is the end of the text. */
  readonly units: number
  /** Returns the kept part between two offsets. */
  slice (from: number, to?: number): TextSlice
}

/** A part of a text. */
export interface TextSlice {
  readonly text: string
  /** Where the part begins in the whole text. */
  readonly offset: number
  /** Whether it begins later than requested, because the text before it is no longer kept. */
  readonly truncated: boolean
}

/** The result of `publish`. Its position is the latest one in the stream. */
export interface Published extends Position {
  /** How many connections the message was passed to, as far as the broker knows. Includes at least those of this node. */
  readonly recipients: number
  /** The job of a job report. Absent if the report was refused. */
  readonly jobId?: string
  /** Why the message was refused. A refused message is neither numbered nor delivered. */
  readonly dropped?: DropReason
  /** Present if the message was published before with the same `key`, so that this is the result of then. */
  readonly repeated?: true
  /** Present if there was no room to keep a durable message, or only room for its short form. */
  readonly kept?: false
  /**
   * Progress of a job with text, accepted or refused as a `gap`: the length of the text that the broker has received, in UTF-16
   * units. It includes half of a surrogate pair that is held back. Only brokers that can lose history return it.
   */
  readonly textEnd?: number
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

/** The lengths of the texts that a subscriber already has, in UTF-16 units, by job id. */
export type HeldTexts = ReadonlyMap<string, number>

export interface JoinOptions {
  /** The position of a subscriber that reconnects. Without it, the subscriber gets a snapshot. */
  readonly since?: Position | undefined
  /**
   * The text that the subscriber has. The sources in the replay need not contain that part, unless the job's text is shorter:
   * the subscriber then has another text.
   */
  readonly have?: HeldTexts | undefined
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

/** The user whose access ends, in one session or altogether. */
export interface Revocation {
  readonly userId: string
  readonly sessionId?: string
}

/** Whether a cancel was accepted: `false` if there was nothing to cancel, `'failed'` if that is unknown. */
export type CancelResult = boolean | 'failed'

/** The answer of one node to a question. */
export interface NodeAnswer {
  /** Name of the node, unique among the living ones. */
  readonly node: string
  readonly answer: string
}

/** The answers of all nodes to a question: see `Broker.ask`. */
export interface Answers {
  readonly answers: readonly NodeAnswer[]
  /** Names of the living nodes that did not answer in time. */
  readonly missing: readonly string[]
}

/**
 * State of a broker's connection to its store.
 *
 * - `ready`: everything works.
 * - `degraded`: something does not work, such as the delivery of other nodes' messages. `reason` says what.
 * - `unavailable`: the store can't be reached.
 */
export interface BrokerStatus {
  readonly state: 'ready' | 'degraded' | 'unavailable'
  readonly reason?: string
}

/** What the server provides to its broker. No method throws or rejects. */
export interface BrokerNode {
  /** Delivers a publication to this node's subscribers and returns how many there are. */
  deliver (stream: Stream, publication: Publication): number
  /**
   * Reports that a joined stream has lost messages that were delivered to this node: its store came back empty, or without its
   * latest messages. The positions of connected subscribers are then ahead of the stream, and the next end would look like a
   * duplicate to them. The node joins the stream again and sends each subscriber its new position and a snapshot. Call it before
   * the first delivery of the new epoch. The broker should answer these joins after the nodes have published their jobs again,
   * see `reseed`, so that no subscriber gets a snapshot without them.
   */
  restarted (stream: Stream): void
  /**
   * Publishes the jobs that this node owns again, because the store has lost history: their starts, newest progress, texts, and
   * the ends of the last minute. What the store still has is not published twice. Settles when the outcomes are known. Until
   * then the broker holds back this node's other publications, so that no end precedes the text of its job. Those of `reseed`
   * have `repeated` in their transition. May be called again before it has settled, if history is lost again.
   *
   * After this call, no pending `publish` may return a result from before the loss: the end that it reports would be missing from
   * the store for ever. The broker rejects it, and the node repeats it. For the same reason the broker makes this call in a later
   * turn of the event loop than it returned the last of these results, so that the node has handled them.
   */
  reseed (): MaybePromise<void>
  /**
   * Reports a running job that no living node runs: its owner is gone, or it has had no owner for `stallAfterMs`. The node
   * publishes its presumed end, which is refused if the `ownership` has changed. One node is enough, and another one if that is
   * gone before the job has ended.
   */
  orphaned (stream: Stream, jobId: string, ownership: Ownership): void
  /**
   * Reports that another node owns a job that this node owned. The node no longer watches it. If the node owns it again later, this
   * call comes before the result of the `publish` or `adopt` that makes it the owner.
   */
  disowned (stream: Stream, jobId: string): void
  /** Ends a user's access on this node, at once. */
  revoke (revocation: Revocation): void
  /** Cancels a job on this node. May take as long as the app's own hooks do. */
  cancel (stream: Stream, jobId: string): MaybePromise<CancelResult>
  /** Returns this node's answer to a question of any node: see `Broker.ask`. */
  answer (question: string): string
  /** Reports that the broker's status has changed. */
  statusChanged (status: BrokerStatus): void
}

/** The bounds that the app's options set, and what the server shares with its broker. */
export interface BrokerSettings {
  readonly history: Readonly<History>
  /** UTF-16 units of text that one job may keep, see the option `jobs.maxTextUnits`. */
  readonly maxTextUnits: number
  /** How long a job may make no report, in milliseconds, see the option `jobs.stallAfterMs`. */
  readonly stallAfterMs: number
  /** Messages of this many bytes or more are kept as two frames, one of them deflated. Absent without compression. */
  readonly deflateFromBytes?: number
  readonly clock: Clock
  readonly log: Logger
}

export interface Broker {
  /**
   * Connects the broker to its node. Called once, before any other method. A throw or rejection makes the app's start fail. The
   * broker must respect the settings.
   */
  open (node: BrokerNode, settings: BrokerSettings): MaybePromise<void>
  /**
   * Names of options that the broker can't respect, such as `history.maxTotalBytes`. The app's start fails if it sets one of
   * them.
   */
  readonly unsupported?: readonly string[]
  /**
   * Whether the store can lose what it has accepted while the app runs. The node then keeps the state of its own jobs, and
   * publishes them again if the broker calls `reseed`. @default false
   */
  readonly canLoseHistory?: boolean
  /** Publishes a message to a stream. A rejection means that the outcome is unknown: the message may have been published. */
  publish (stream: Stream, body: string, options: PublishOptions): MaybePromise<Published>
  /** Subscribes this node to a stream and returns what the subscriber missed. Called for each connection that subscribes. */
  join (stream: Stream, options?: JoinOptions): MaybePromise<Joined>
  /** Unsubscribes this node from a stream. Called when its last subscriber has left. */
  leave (stream: Stream): void
  /** Returns the job that a report without a `jobId` refers to: the newest running one. */
  currentJob (stream: Stream): MaybePromise<string | undefined>
  /**
   * Makes this node the owner of a running job, without a report. Returns whether the job is running. Without such a job, it has
   * no effect.
   */
  adopt (stream: Stream, jobId: string): MaybePromise<boolean>
  /**
   * Gives up a job that this node owns, so that another node can adopt it. Returns whether this node owned it. If no node adopts
   * it or reports on it within `stallAfterMs`, the job is orphaned.
   */
  release (stream: Stream, jobId: string): MaybePromise<boolean>
  /**
   * Carries out a revocation on every node, this one included. Settles when all living nodes have confirmed it. Rejects with an
   * error that names the missing nodes if they do not confirm it in time; they still carry it out before they deliver anything.
   */
  revoke (revocation: Revocation): MaybePromise<void>
  /** Passes a cancel to the node that owns the job, or to this node if none does. Returns that node's result. */
  cancel (stream: Stream, jobId: string): MaybePromise<CancelResult>
  /**
   * Puts a question to every living node, this one included, such as for its statistics. Settles when all have answered, or
   * after a time limit of the broker's. If the other nodes can't be reached, they are missing, and it does not reject.
   */
  ask (question: string): MaybePromise<Answers>
  /** State of the connection to the store. Absent if the broker has none. */
  status? (): BrokerStatus
  /** Bytes that the broker keeps in this process. Absent if it keeps its data elsewhere. */
  readonly bytes?: number
  /** Evictions since the start. Absent if the broker does not count them. */
  readonly evicted?: Evicted
  /** Stops all delivery. Called once. */
  close (): MaybePromise<void>
}
