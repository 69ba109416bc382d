import { isoTimestamps, type Clock } from '../util/clock.js'
import type { Frame } from './frame.js'

/** What the pool knows of an outbox whose reader is behind. */
export interface Backlogged {
  /** Bytes of memory that closing it would free. */
  readonly freeableBytes: number
  /** For how long its reader has taken nothing, in milliseconds. */
  readonly stalledMs: number
  /** Closes it because its reader is too slow, and frees its memory. */
  closeAsSlow (): void
}

/** What all outboxes share: their bounds, the memory that waits in them, and counters of what became of the messages. */
export class OutboxPool {
  readonly maxOutboxBytes: number
  readonly maxTotalBytes: number
  /** Milliseconds that never go back, and the time as messages say it. */
  readonly monotonic: () => number
  readonly timestamp: () => string
  /** Bytes that wait in all outboxes now. */
  waitingBytes = 0
  /** Messages handed to sockets. */
  sent = 0
  /** Ephemeral messages that a newer one replaced while their reader was behind. */
  collapsed = 0
  /** Messages that still waited when their connection ended. */
  dropped = 0
  /** Connections closed because their reader was too slow. */
  slowConsumers = 0
  readonly #backlogged = new Set<Backlogged>()
  /** Messages above the bound of one outbox, and in how many outboxes each waits. */
  readonly #large = new Map<Frame, number>()

  constructor (options: { clock: Clock, maxOutboxBytes: number, maxTotalBytes: number }) {
    const { clock } = options
    this.maxOutboxBytes = options.maxOutboxBytes
    this.maxTotalBytes = options.maxTotalBytes
    this.monotonic = () => clock.monotonic()
    this.timestamp = isoTimestamps(clock)
  }

  /** An outbox has fallen behind. */
  add (outbox: Backlogged): void {
    this.#backlogged.add(outbox)
  }

  /** It has caught up, or closed. */
  delete (outbox: Backlogged): void {
    this.#backlogged.delete(outbox)
  }

  /** How much room a large message needs, in bytes: none where it waits already. */
  needed (frame: Frame): number {
    return this.#large.has(frame) ? 0 : frame.bytes(false).length
  }

  /** What one outbox's part of a large message's memory is, in bytes. */
  shareOf (frame: Frame): number {
    return frame.bytes(false).length / Number(this.#large.get(frame))
  }

  /** A large message waits in one more outbox. Its memory is shared, so it counts once. */
  hold (frame: Frame): void {
    this.waitingBytes += this.needed(frame)
    this.#large.set(frame, (this.#large.get(frame) ?? 0) + 1)
  }

  /** It has left one of them. */
  release (frame: Frame): void {
    const left = Number(this.#large.get(frame)) - 1
    if (left > 0) {
      this.#large.set(frame, left)
    } else {
      this.#large.delete(frame)
      this.waitingBytes -= this.needed(frame)
    }
  }

  /**
   * Makes room for so many bytes. The outbox that has held most memory for longest goes first, whoever needs the room: a
   * reader that pauses for a second does not pay for one that reads nothing.
   */
  makeRoom (bytes: number): void {
    while (this.waitingBytes + bytes > this.maxTotalBytes) {
      let worst: Backlogged | undefined
      let worstCost = -1
      for (const outbox of this.#backlogged) {
        const cost = outbox.freeableBytes * (outbox.stalledMs + 1)
        if (cost > worstCost) [worst, worstCost] = [outbox, cost]
      }
      if (worst === undefined) return
      worst.closeAsSlow()
    }
  }
}
