import type { CloseName, ErrorCode } from '../protocol/codes.js'

/** Counters since the app started. The counters of delivery are in `OutboxPool`. */
export class Counters {
  /** Messages from clients, including invalid ones. */
  received = 0
  /** Connections whose client reported a reconnect. */
  reconnects = 0
  /** Notifications and broadcasts that failed. */
  failed = 0
  readonly errors: Partial<Record<ErrorCode, number>> = {}
  readonly closes: Partial<Record<CloseName | 'other', number>> = {}
  #roundTripSum = 0
  #roundTrips = 0

  error (code: ErrorCode): void {
    this.errors[code] = (this.errors[code] ?? 0) + 1
  }

  close (name: CloseName | 'other'): void {
    this.closes[name] = (this.closes[name] ?? 0) + 1
  }

  roundTrip (ms: number): void {
    this.#roundTripSum += ms
    this.#roundTrips++
  }

  /** Mean time from a ping to its pong, in milliseconds. 0 before the first pong. */
  get averageLatency (): number {
    return this.#roundTrips === 0 ? 0 : this.#roundTripSum / this.#roundTrips
  }
}
