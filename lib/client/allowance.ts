import type { Environment } from './environment.js'
import type { ClientLimits } from './messages.js'

/** The client's share of the server's rate limit. The rest is room for messages that a slow network delivers together. */
const SHARE = 0.8

/**
 * Keeps the messages of a connection below the server's rate limit, past which the server closes it. It is the generic
 * cell rate algorithm: a token bucket with one number for a state.
 */
export class Allowance {
  readonly #clock: Environment['clock']
  /** Milliseconds between two messages in the long run, and by how many they may come ahead of that. 0 is no limit. */
  readonly #intervalMs: number
  readonly #aheadMs: number
  /** When the next message would be due if all came at the interval. */
  #dueAt = 0

  /** A server that states no limits has none. */
  constructor (clock: Environment['clock'], { burst = Number.MAX_SAFE_INTEGER, messagesPerSecond = Infinity }: ClientLimits = {}) {
    this.#clock = clock
    this.#intervalMs = 1000 / messagesPerSecond / SHARE
    this.#aheadMs = this.#intervalMs * Math.max(0, burst * SHARE - 1)
  }

  /** Milliseconds until the next message may be sent; not above 0 if it may be sent now. */
  get waitMs (): number {
    return this.#dueAt - this.#aheadMs - this.#clock.monotonic()
  }

  /** A message was sent. */
  spend (): void {
    this.#dueAt = Math.max(this.#dueAt, this.#clock.monotonic()) + this.#intervalMs
  }
}
