import { isoTimestamps, type Clock } from '../util/clock.js'
import type { Frame } from './frame.js'

/** An outbox with queued messages, as the pool sees it. */
export interface Backlogged {
  /** Bytes of memory that closing it would free. */
  readonly freeableBytes: number
  /** How long its client has read nothing, in milliseconds. */
  readonly stalledMs: number
  /** Closes the connection of a slow consumer and frees the memory of its outbox. */
  closeAsSlow (): void
}

/** What all outboxes share: limits, the number of queued bytes, and counters of message outcomes. */
export class OutboxPool {
  readonly maxOutboxBytes: number
  readonly maxTotalBytes: number
  /** Monotonic time in milliseconds, and the current time as an ISO timestamp. */
  readonly monotonic: () => number
  readonly timestamp: () => string
  /** Bytes that are queued in all outboxes. */
  queuedBytes = 0
  /** Messages written to sockets. */
  sent = 0
  /** Ephemeral messages that a newer one replaced while the client was behind. */
  collapsed = 0
  /** Messages that were still queued when their connection ended. */
  dropped = 0
  /** Connections closed as slow consumers. */
  slowConsumers = 0
  readonly #backlogged = new Set<Backlogged>()
  /** Queued frames larger than `maxOutboxBytes`, and in how many outboxes each is queued. */
  readonly #large = new Map<Frame, number>()

  constructor (options: { clock: Clock, maxOutboxBytes: number, maxTotalBytes: number }) {
    const { clock } = options
    this.maxOutboxBytes = options.maxOutboxBytes
    this.maxTotalBytes = options.maxTotalBytes
    this.monotonic = () => clock.monotonic()
    this.timestamp = isoTimestamps(clock)
  }

  /** Adds an outbox that has fallen behind. */
  add (outbox: Backlogged): void {
    this.#backlogged.add(outbox)
  }

  /** Removes an outbox that has caught up or was closed. */
  delete (outbox: Backlogged): void {
    this.#backlogged.delete(outbox)
  }

  /** Returns how many bytes a large frame needs: none if it is already queued in another outbox. */
  neededBytes (frame: Frame): number {
    return this.#large.has(frame) ? 0 : frame.bytes(false).length
  }

  /** Returns one outbox's share of a large frame's memory, in bytes. */
  shareOf (frame: Frame): number {
    return frame.bytes(false).length / Number(this.#large.get(frame))
  }

  /** Counts a large frame as queued in one more outbox. All outboxes share its memory, so its bytes count once. */
  holdLarge (frame: Frame): void {
    this.queuedBytes += this.neededBytes(frame)
    this.#large.set(frame, (this.#large.get(frame) ?? 0) + 1)
  }

  /** Counts a large frame as queued in one outbox less. */
  releaseLarge (frame: Frame): void {
    const left = Number(this.#large.get(frame)) - 1
    if (left > 0) {
      this.#large.set(frame, left)
    } else {
      this.#large.delete(frame)
      this.queuedBytes -= this.neededBytes(frame)
    }
  }

  /**
   * Makes room for a number of bytes by closing slow consumers. The one with the highest product of memory and stalled time
   * goes first, whichever connection needs the room. So a client that pauses for a second does not suffer from one that reads
   * nothing.
   */
  makeRoom (bytes: number): void {
    while (this.queuedBytes + bytes > this.maxTotalBytes) {
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
