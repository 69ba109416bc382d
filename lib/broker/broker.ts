import type { MaybePromise } from '../maybe-promise.js'

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
 *
 * `publish`, `join` and `control` may answer at once or with a promise. A broker in the same process should answer at
 * once: then order on a connection is the order of the calls, and a message costs no turn of the event loop.
 *
 * How it grows. A broker that keeps history fills `missed` and `state` and recovers older positions; one that keeps
 * none, as here, recovers exactly the followers who missed nothing and says `expired` to others. Job transitions join
 * `PublishOptions` (`job`: checked against the job's state in the same step as the numbering, so that of two ends that
 * race one is refused, and told so in `Published`), present state joins the entries that `join` answers, and leases on
 * running jobs are two further methods (`hold`, `release`): a lease that runs out lets any node publish the job's end.
 * All three are additions: a caller that passes no `job` sees no change.
 */

export type Stream = `session:${string}` | `user:${string}` | 'all'

/** Where a reader is in a stream. `seq` 0 is before the first message. */
export interface Position {
  /** `<process>.<life of the stream>`: numbers of two epochs can't be compared. */
  readonly epoch: string
  readonly seq: number
}

export interface PublishOptions {
  /** Numbered and, by a broker with history, kept and recovered. Otherwise it reaches those who follow now. */
  readonly durable: boolean
  /** While a reader is behind, a newer publication replaces an older one with the same key. Ephemeral ones only. */
  readonly collapseKey?: string
}

export interface Publication extends PublishOptions {
  /** A JSON object's text, without `seq`: whoever frames it adds that, so that nothing is parsed or encoded twice. */
  readonly body: string
  /** Its place in the stream's order, ephemeral ones counted too. Never leaves the server. */
  readonly revision: number
  /** Durable publications only. */
  readonly seq?: number
}

export interface Published extends Position {
  /** How many connections it was handed to, as far as the broker knows: always those of this node. */
  readonly recipients: number
}

export interface Joined extends Position {
  /** The point in the stream's order for which this answer is true. */
  readonly revision: number
  /** Whether the reader's `since` could be continued without a gap. False without `since`. */
  readonly recovered: boolean
  /** Why not: no position was given, its entries are gone, its epoch is gone, or there were too many to replay. */
  readonly reason?: 'new' | 'expired' | 'restarted' | 'overflow'
  /** What came after `since`, in order; empty unless recovered. */
  readonly missed: readonly Publication[]
  /** What a reader without a recoverable position needs to know now; empty when recovered. */
  readonly state: readonly Publication[]
}

/** Orders that every node carries out on its own connections. */
export type ControlMessage =
  | { readonly type: 'revoke', readonly userId: string, readonly sessionId?: string }

/** What a broker needs of the node that it serves. Neither method throws. */
export interface BrokerNode {
  /** Takes a publication to this node's followers and answers how many they are. */
  deliver (stream: Stream, publication: Publication): number
  control (message: ControlMessage): void
}

export interface Broker {
  /** Called once, before anything else. A rejection fails the app's start. */
  open (node: BrokerNode): MaybePromise<void>
  /** Rejects when it is not known that the message was taken; then it may or may not have been. */
  publish (stream: Stream, body: string, options: PublishOptions): MaybePromise<Published>
  /** Called for each connection that begins to follow. */
  join (stream: Stream, since?: Position): MaybePromise<Joined>
  /** Called when this node's last follower of the stream has gone. */
  leave (stream: Stream): void
  /** Reaches every node, this one included. */
  control (message: ControlMessage): MaybePromise<void>
  /** After it nothing is delivered. Called once. */
  close (): MaybePromise<void>
}
