/** How many messages a client may send. */
export interface RateLimitSettings {
  readonly messagesPerSecond: number
  readonly burst: number
  readonly sessionsPerConnection: number
}

/**
 * A token bucket: `burst` at once, then `messagesPerSecond`. The first single requests to follow, up to as many as there may
 * be sessions, are free: after a drop a client may follow everything again at once, and that is no flood.
 */
export class RateLimit {
  readonly #settings: RateLimitSettings
  #tokens: number
  #refilledAt: number
  #freeFollows: number

  constructor (settings: RateLimitSettings, now: number) {
    this.#settings = settings
    this.#tokens = settings.burst
    this.#refilledAt = now
    this.#freeFollows = settings.sessionsPerConnection
  }

  /** Takes one message into account. False when it is one too many. `now` is monotonic, in milliseconds. */
  take (now: number): boolean {
    const { burst, messagesPerSecond } = this.#settings
    this.#tokens = Math.min(burst, this.#tokens + (now - this.#refilledAt) * messagesPerSecond / 1000)
    this.#refilledAt = now
    if (this.#tokens < 1) return false
    this.#tokens--
    return true
  }

  /** Gives back what the last message took, a single request to follow, if it is one of the free ones. */
  refundSubscribe (): void {
    if (this.#freeFollows < 1) return
    this.#freeFollows--
    this.#tokens++
  }
}
