/** Settings of a client's rate limit. */
export interface RateLimitSettings {
  readonly messagesPerSecond: number
  readonly burst: number
  readonly sessionsPerConnection: number
}

/**
 * Token bucket for a client's messages: `burst` at once, then `messagesPerSecond`. The first `sessionsPerConnection` messages
 * that subscribe to a single session are free, so that a client can resubscribe to all its sessions after a reconnect.
 */
export class RateLimit {
  readonly #settings: RateLimitSettings
  #tokens: number
  #refilledAt: number
  #freeSubscribes: number

  constructor (settings: RateLimitSettings, now: number) {
    this.#settings = settings
    this.#tokens = settings.burst
    this.#refilledAt = now
    this.#freeSubscribes = settings.sessionsPerConnection
  }

  /** Counts one message. Returns false if it exceeds the limit. `now` is monotonic, in milliseconds. */
  take (now: number): boolean {
    const { burst, messagesPerSecond } = this.#settings
    this.#tokens = Math.min(burst, this.#tokens + (now - this.#refilledAt) * messagesPerSecond / 1000)
    this.#refilledAt = now
    if (this.#tokens < 1) return false
    this.#tokens--
    return true
  }

  /** Refunds the last message, which subscribed to a single session, if free ones are left. */
  refundSubscribe (): void {
    if (this.#freeSubscribes < 1) return
    this.#freeSubscribes--
    this.#tokens++
  }
}
