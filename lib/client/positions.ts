import type { GapReason, StreamReply } from './messages.js'

/** How a message relates to a position: it is new, it is a duplicate, or messages before it are missing. */
export type Verdict = 'new' | 'duplicate' | 'gap'

/**
 * Tracks the client's position in one stream. Only delivered messages advance it, never the server's statement of its head. So
 * a replay that is interrupted continues where it stopped.
 */
export class Position {
  #epoch: string | undefined
  #seq = 0
  /** Messages of the snapshot that have not arrived yet. */
  #snapshotLeft = 0
  /** The stream's position after the snapshot. */
  #head = 0
  /** The gap that was last requested. If it appears again, the server can't fill it. */
  #requestedGap: string | undefined

  /** The `since` value to send. Undefined without a position, and while a snapshot is arriving. */
  get since (): string | undefined {
    return this.#epoch === undefined || this.#snapshotLeft > 0 ? undefined : `${this.#epoch}:${this.#seq}`
  }

  /** Whether no snapshot is arriving. */
  get settled (): boolean {
    return this.#snapshotLeft === 0
  }

  reset (): void {
    this.#epoch = undefined
    this.#snapshotLeft = 0
  }

  /**
   * Applies the server's reply to `subscribe`. Returns the reason of a recovery failure; undefined if nothing was missed or if
   * there was no position before.
   */
  apply ({ epoch, seq = 0, recovered, replaying = 0, reason = 'expired' }: StreamReply): GapReason | undefined {
    if (recovered) {
      this.#snapshotLeft = 0
      return undefined
    }
    const hadPosition = this.since !== undefined
    // In the same epoch sequence numbers stay comparable, so messages from before the gap are recognized as duplicates.
    if (epoch !== this.#epoch) this.#seq = 0
    this.#epoch = epoch
    this.#snapshotLeft = replaying
    this.#head = seq
    if (replaying === 0) this.#seq = seq
    // `new` means that the request had no position.
    return hadPosition && reason !== 'new' ? reason : undefined
  }

  /** Advances by one message, numbered or not. For a `gap` the position stays; `skipTo` then skips what is missing. */
  advance (seq: number | undefined): Verdict {
    if (this.#snapshotLeft > 0 && (seq === undefined || seq <= this.#head)) return this.#advanceSnapshot(seq)
    // A message from after the head means that the snapshot is complete.
    if (this.#snapshotLeft > 0) this.#settle()
    if (seq === undefined || this.#epoch === undefined) return 'new'
    if (seq <= this.#seq) return 'duplicate'
    if (seq > this.#seq + 1) return 'gap'
    this.#seq = seq
    return 'new'
  }

  /** Returns whether the missing messages may be requested: only with a known position, and once per gap. */
  mayRequest (gap = ''): boolean {
    const { since } = this
    const request = `${String(since)} ${gap}`
    if (since === undefined || this.#requestedGap === request) return false
    this.#requestedGap = request
    return true
  }

  /** Skips missing messages that will not arrive. */
  skipTo (seq = this.#seq): void {
    this.#seq = seq
  }

  #advanceSnapshot (seq: number | undefined): Verdict {
    const isDuplicate = seq !== undefined && seq <= this.#seq
    if (seq !== undefined && !isDuplicate) this.#seq = seq
    if (--this.#snapshotLeft === 0) this.#settle()
    return isDuplicate ? 'duplicate' : 'new'
  }

  #settle (): void {
    this.#snapshotLeft = 0
    this.#seq = Math.max(this.#seq, this.#head)
  }
}
