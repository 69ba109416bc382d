import type { Clock, Timer } from '../clock.js'
import type { Connection } from './connection.js'
import type { ConnectionWatcher } from './connections.js'

/** A budget holds at most what comes in in so many seconds. */
const BURST_SECONDS = 4

interface Budget {
  bytes: number
  refilledAt: number
  /** Replays that wait for their turn, by session, and the timer of the first. */
  readonly waiting: Map<string, () => void>
  timer: Timer | undefined
}

/**
 * How many bytes of the past each connection may be sent: a token bucket of bytes. A replay begins while anything is left,
 * whatever it costs, because its size is known only then; the next ones wait, in order, until the debt is paid. So a client
 * that asks for long texts again and again gets them slowly, and takes nobody's share of the server.
 */
export class ReplayBudgets implements ConnectionWatcher {
  readonly #clock: Clock
  readonly #bytesPerSecond: number
  /** Only of connections that were sent something of the past. */
  readonly #budgets = new WeakMap<Connection, Budget>()

  constructor (options: { clock: Clock, bytesPerSecond: number }) {
    this.#clock = options.clock
    this.#bytesPerSecond = options.bytesPerSecond
  }

  /** Calls back when a session's replay may begin: at once if nothing is owed. One that waits already is replaced. */
  whenAllowed (connection: Connection, sessionId: string, begin: () => void): void {
    const budget = this.#budgets.get(connection)
    if (budget === undefined) {
      begin()
      return
    }
    budget.waiting.set(sessionId, begin)
    if (budget.timer === undefined) this.#beginAllowed(budget)
  }

  /** A replay of so many bytes was begun. */
  spend (connection: Connection, bytes: number): void {
    if (bytes === 0 || this.#bytesPerSecond === Infinity) return
    const budget = this.#budgets.get(connection) ?? {
      bytes: this.#bytesPerSecond * BURST_SECONDS, refilledAt: this.#clock.monotonic(), waiting: new Map(), timer: undefined
    }
    this.#budgets.set(connection, budget)
    this.#refill(budget)
    budget.bytes -= bytes
  }

  /** The session was left: its replay waits no longer. */
  forget (connection: Connection, sessionId: string): void {
    this.#budgets.get(connection)?.waiting.delete(sessionId)
  }

  added (): void { /* A budget is made with the first replay. */ }

  removed (connection: Connection): void {
    const budget = this.#budgets.get(connection)
    if (budget === undefined) return
    budget.timer?.cancel()
    budget.waiting.clear()
    this.#budgets.delete(connection)
  }

  #beginAllowed (budget: Budget): void {
    this.#refill(budget)
    for (const [sessionId, begin] of budget.waiting) {
      if (budget.bytes <= 0) break
      budget.waiting.delete(sessionId)
      begin()
    }
    if (budget.waiting.size === 0 || budget.timer !== undefined) return
    const untilPaidMs = Math.ceil(-budget.bytes / this.#bytesPerSecond * 1000) + 1
    budget.timer = this.#clock.after(untilPaidMs, () => {
      budget.timer = undefined
      this.#beginAllowed(budget)
    })
  }

  #refill (budget: Budget): void {
    const now = this.#clock.monotonic()
    const earned = (now - budget.refilledAt) / 1000 * this.#bytesPerSecond
    budget.bytes = Math.min(this.#bytesPerSecond * BURST_SECONDS, budget.bytes + earned)
    budget.refilledAt = now
  }
}
