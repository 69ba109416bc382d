import type { Environment } from './environment.js'
import type { ClientLimits } from './messages.js'

/** The client's share of the server's rate limit. The rest is room for pings, and for messages that a slow network delivers together. */
const SHARE = 0.8

/** Token bucket that keeps the client's messages below the server's rate limit, past which the server closes the connection. */
export class Allowance {
  readonly #clock: Environment['clock']
  #burst = Infinity
  #perMs = 0
  #tokens = Infinity
  #refilledAt = 0

  constructor (clock: Environment['clock']) {
    this.#clock = clock
  }

  /** A connection begins. A server that states no limits has none. */
  begin ({ burst = Infinity, messagesPerSecond = Infinity }: ClientLimits): void {
    // At least one message, or none would ever be sent.
    this.#burst = messagesPerSecond === Infinity ? Infinity : Math.max(1, burst * SHARE)
    this.#perMs = messagesPerSecond * SHARE / 1000
    this.#tokens = this.#burst
    this.#refilledAt = this.#clock.monotonic()
  }

  /** Milliseconds until the next message may be sent; 0 if it may be sent now. */
  get waitMs (): number {
    if (this.#burst === Infinity) return 0
    const now = this.#clock.monotonic()
    this.#tokens = Math.min(this.#burst, this.#tokens + (now - this.#refilledAt) * this.#perMs)
    this.#refilledAt = now
    return this.#tokens >= 1 ? 0 : Math.ceil((1 - this.#tokens) / this.#perMs)
  }

  /** A message was sent. Several that belong together may be sent on credit. */
  spend (): void {
    this.#tokens--
  }
}
