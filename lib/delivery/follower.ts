import type { Batch, Channel } from './channel.js'
import type { Outbox, Outgoing } from './outbox.js'
import type { Replay } from './replay.js'

/**
 * A connection as the hub sees it: where its frames go, which channels it follows, and notes that save a look-up
 * for each delivery. The notes are the hub's alone.
 */
export class Follower {
  readonly outbox: Outbox
  /** Made anew at each change: an array that grows takes room for sixteen more, and most follow two or three. */
  channels: readonly Channel[] = []
  /** Those that it is on its way into, if any. */
  entering: Set<Channel> | undefined
  /** Deliveries before this place are written, are in `own`, or were none of its business. */
  cursor = 0
  /** What it gets at the next flush, in order: listed for it alone once that is not simply a whole batch. */
  own: Outgoing[] | undefined
  /** Replays that were not sent whole yet, and their channels. */
  replays: Map<Replay, Channel> | undefined
  /** While batches are sent: the first for it, and whether it gets something else than that one as it is. */
  fedBy: Batch | undefined
  mixed = false

  constructor (outbox: Outbox) {
    this.outbox = outbox
  }
}
