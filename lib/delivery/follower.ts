import type { Channel } from './channel.js'
import type { Frame } from './frame.js'
import type { Outbox } from './outbox.js'

/**
 * A connection as the hub sees it: where its frames go, which channels it follows, and notes about this tick that save
 * a look-up for each delivery. The notes are the hub's alone.
 */
export class Follower {
  readonly outbox: Outbox
  /** Made anew at each change: an array that grows takes room for sixteen more, and most follow two or three. */
  channels: readonly Channel[] = []
  /** Those that it is on its way into, if any. */
  entering: Set<Channel> | undefined
  /** The tick that the notes below are about; older notes count as none. */
  tick = -1
  /** Deliveries of this tick before this place are in `own` already, or were none of its business. */
  cursor = 0
  /** What it gets in this tick, in order, once that is more than one channel's whole batch. */
  own: Frame[] | undefined
  /** The first channel with something for it in this tick. */
  fedBy: Channel | undefined
  /** Whether several have. */
  mixed = false

  constructor (outbox: Outbox) {
    this.outbox = outbox
  }
}
