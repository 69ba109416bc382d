import type { Answer, GapReason } from './messages.js'

/** How a message relates to a position: it is new, it is a duplicate, or messages before it are missing. */
export type Verdict = 'new' | 'double' | 'hole'

/**
 * Tracks the client's position in one stream. Only delivered messages advance it, never the server's statement of its head. So
 * a replay that is interrupted continues where it stopped.
 */
export class Position {
  #epoch: string | undefined
  #seq = 0
  /** Messages of the snapshot that have not arrived yet. */
  #left = 0
  /** The stream's position after the snapshot. */
  #head = 0
  /** The gap that was last requested. If it appears again, the server can't fill it. */
  #askedAbout: string | undefined

  /** The `since` value to send. Undefined without a position, and while a snapshot is arriving. */
  get since (): string | undefined {
    return this.#epoch === undefined || this.#left > 0 ? undefined : `${this.#epoch}:${this.#seq}`
  }

  /** Whether no snapshot is arriving. */
  get settled (): boolean {
    return this.#left === 0
  }

  forget (): void {
    this.#epoch = undefined
    this.#left = 0
  }

  /**
   * Applies the server's reply to `subscribe`. Returns the reason of a recovery failure; undefined if nothing was missed or if
   * there was no position before.
   */
  greet ({ epoch, seq = 0, recovered, replaying = 0, reason = 'expired' }: Answer): GapReason | undefined {
    if (recovered) {
      this.#left = 0
      return undefined
    }
    const had = this.since !== undefined
    // In the same epoch sequence numbers stay comparable, so messages from before the gap are recognized as duplicates.
    if (epoch !== this.#epoch) this.#seq = 0
    this.#epoch = epoch
    this.#left = replaying
    this.#head = seq
    if (replaying === 0) this.#seq = seq
    // `new` means that the request had no position.
    return had && reason !== 'new' ? reason : undefined
  }

  /** Advances by one message, numbered or not. For a `hole` the position stays; `jump` then skips what is missing. */
  take (seq: number | undefined): Verdict {
    if (this.#left > 0 && (seq === undefined || seq <= this.#head)) return this.#takeState(seq)
    // A message from after the head means that the snapshot is complete.
    if (this.#left > 0) this.#settle()
    if (seq === undefined || this.#epoch === undefined) return 'new'
    if (seq <= this.#seq) return 'double'
    if (seq > this.#seq + 1) return 'hole'
    this.#seq = seq
    return 'new'
  }

  /** Returns whether the missing messages may be requested: only with a known position, and once per gap. */
  mayAskAbout (gap = ''): boolean {
    const { since } = this
    const asked = `${String(since)} ${gap}`
    if (since === undefined || this.#askedAbout === asked) return false
    this.#askedAbout = asked
    return true
  }

  /** Skips missing messages that will not arrive. */
  jump (seq = this.#seq): void {
    this.#seq = seq
  }

  #takeState (seq: number | undefined): Verdict {
    const isDouble = seq !== undefined && seq <= this.#seq
    if (seq !== undefined && !isDouble) this.#seq = seq
    if (--this.#left === 0) this.#settle()
    return isDouble ? 'double' : 'new'
  }

  #settle (): void {
    this.#left = 0
    this.#seq = Math.max(this.#seq, this.#head)
  }
}
