import type { Answer, GapReason } from './messages.js'

/** What becomes of a numbered message: it is new, it came before, or something is missing in front of it. */
export type Verdict = 'new' | 'double' | 'hole'

/**
 * Where the client is in one stream. It goes forward by what was delivered, never by what the server says is there, so
 * that a connection that drops in the middle of a replay continues where it was cut.
 */
export class Position {
  #epoch: string | undefined
  #seq = 0
  /** While the present state comes: how many of its messages are left, and the stream's head behind them. */
  #left = 0
  #head = 0
  /** The gap that was asked about last: the same one again is there to stay. */
  #askedAbout: string | undefined

  /** What the server is told when the client comes back. Undefined without a position, also while the present state comes. */
  get since (): string | undefined {
    return this.#epoch === undefined || this.#left > 0 ? undefined : `${this.#epoch}:${this.#seq}`
  }

  /** Whether nothing of a present state is still to come. */
  get settled (): boolean {
    return this.#left === 0
  }

  forget (): void {
    this.#epoch = undefined
    this.#left = 0
  }

  /** Takes the server's answer. Returns why something was missed; undefined when nothing was, or nothing was known before. */
  greet ({ epoch, seq = 0, recovered, replaying = 0, reason = 'expired' }: Answer): GapReason | undefined {
    if (recovered) {
      this.#left = 0
      return undefined
    }
    const had = this.since !== undefined
    // In the same life of the stream numbers can still be compared: what came before the gap does not come twice.
    if (epoch !== this.#epoch) this.#seq = 0
    this.#epoch = epoch
    this.#left = replaying
    this.#head = seq
    if (replaying === 0) this.#seq = seq
    // `new` says that no position was told.
    return had && reason !== 'new' ? reason : undefined
  }

  /** Takes a message, numbered or not. One that is a `hole` was not taken: `jump` takes it all the same. */
  take (seq: number | undefined): Verdict {
    if (this.#left > 0 && (seq === undefined || seq <= this.#head)) return this.#takeState(seq)
    // One from behind the head says that the state is complete.
    if (this.#left > 0) this.#settle()
    if (seq === undefined || this.#epoch === undefined) return 'new'
    if (seq <= this.#seq) return 'double'
    if (seq > this.#seq + 1) return 'hole'
    this.#seq = seq
    return 'new'
  }

  /** Whether what is missing here may be asked for: with a position to go on from, and once. */
  mayAskAbout (gap = ''): boolean {
    const { since } = this
    const asked = `${String(since)} ${gap}`
    if (since === undefined || this.#askedAbout === asked) return false
    this.#askedAbout = asked
    return true
  }

  /** Accepts that what is missing in front of a message won't come. */
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
