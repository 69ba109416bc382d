import type { CloseName, ErrorCode } from '../protocol/codes.js'

/** What is counted since the app started. What delivery counts is in its `OutboxPool`. */
export class Counters {
  /** Messages from clients, the unacceptable ones too. */
  received = 0
  /** Connections that said that they come back. */
  returned = 0
  /** Notifications and broadcasts that failed. */
  failed = 0
  readonly errors: Partial<Record<ErrorCode, number>> = {}
  readonly closes: Partial<Record<CloseName, number>> = {}
  #roundTripSum = 0
  #roundTrips = 0

  error (code: ErrorCode): void {
    this.errors[code] = (this.errors[code] ?? 0) + 1
  }

  close (name: CloseName): void {
    this.closes[name] = (this.closes[name] ?? 0) + 1
  }

  roundTrip (ms: number): void {
    this.#roundTripSum += ms
    this.#roundTrips++
  }

  /** The mean time from a ping to its pong, in milliseconds; 0 before the first. */
  get averageLatency (): number {
    return this.#roundTrips === 0 ? 0 : this.#roundTripSum / this.#roundTrips
  }
}
