import type { Clock, Timer } from '../util/clock.js'
import type { Connection } from './connection.js'
import type { ConnectionWatcher } from './connection-registry.js'
import type { RateLimitSettings } from './rate-limit.js'

/** A replay budget holds at most this many seconds' worth of bytes. */
const REPLAY_BURST_SECONDS = 4

export interface BudgetsOptions {
  readonly clock: Clock
  /** Units that each connection gains per second. Infinity means no limit. */
  readonly perSecond: number
  /** Largest number of units that a connection can save up. */
  readonly atOnce: number
}

interface Budget {
  left: number
  refilledAt: number
  /** Pending work, by session. `timer` starts the first of it. */
  readonly waiting: Map<string, () => void>
  timer: Timer | undefined
  /** Whether pending work is being started. Work that is added meanwhile joins the end of the queue. */
  isServing: boolean
}

/**
 * A token bucket per connection, with a queue of pending work. Work starts while the balance is positive, whatever its cost,
 * because the cost may be known only afterwards. The next work waits, in order, until the balance is positive again. So a
 * client that asks for much gets it slowly and does not slow down others.
 */
export class Budgets implements ConnectionWatcher {
  readonly #options: BudgetsOptions
  /** Budgets of the connections that have spent something. */
  readonly #budgets = new WeakMap<Connection, Budget>()

  constructor (options: BudgetsOptions) {
    this.#options = options
  }

  /**
   * Calls `begin` when the work for a session may start, at once if the balance allows it. Replaces pending work for that
   * session.
   */
  whenAllowed (connection: Connection, sessionId: string, begin: () => void): void {
    const budget = this.#budgets.get(connection)
    if (budget === undefined) {
      begin()
      return
    }
    budget.waiting.set(sessionId, begin)
    if (budget.timer === undefined && !budget.isServing) this.#serve(budget)
  }

  /** Charges a connection for work. */
  spend (connection: Connection, cost: number): void {
    const { clock, perSecond, atOnce } = this.#options
    if (cost === 0 || perSecond === Infinity) return
    const budget = this.#budgets.get(connection) ?? {
      left: atOnce, refilledAt: clock.monotonic(), waiting: new Map(), timer: undefined, isServing: false
    }
    this.#budgets.set(connection, budget)
    this.#refill(budget)
    budget.left -= cost
  }

  /** Drops the pending work for a session, because the client unsubscribed. */
  forget (connection: Connection, sessionId: string): void {
    this.#budgets.get(connection)?.waiting.delete(sessionId)
  }

  added (): void { /* A budget is created when something is spent. */ }

  removed (connection: Connection): void {
    const budget = this.#budgets.get(connection)
    if (budget === undefined) return
    budget.timer?.cancel()
    budget.waiting.clear()
    this.#budgets.delete(connection)
  }

  #serve (budget: Budget): void {
    this.#refill(budget)
    budget.isServing = true
    for (const [sessionId, begin] of budget.waiting) {
      if (budget.left <= 0) break
      budget.waiting.delete(sessionId)
      begin()
    }
    budget.isServing = false
    if (budget.waiting.size === 0) return
    const untilPaidMs = Math.ceil(-budget.left / this.#options.perSecond * 1000) + 1
    budget.timer = this.#options.clock.after(untilPaidMs, () => {
      budget.timer = undefined
      this.#serve(budget)
    })
  }

  #refill (budget: Budget): void {
    const { clock, perSecond, atOnce } = this.#options
    const now = clock.monotonic()
    budget.left = Math.min(atOnce, budget.left + (now - budget.refilledAt) / 1000 * perSecond)
    budget.refilledAt = now
  }
}

/** Creates the budgets for replayed bytes. */
export function replayBudgets (clock: Clock, { replayBytesPerSecond: perSecond }: { readonly replayBytesPerSecond: number }): Budgets {
  return new Budgets({ clock, perSecond, atOnce: perSecond * REPLAY_BURST_SECONDS })
}

/**
 * Creates the budgets for new subscriptions. A burst holds twice `sessionsPerConnection`, so that a page can replace all
 * sessions that it shows twice in a row.
 */
export function subscribeBudgets (
  clock: Clock, { subscribesPerSecond: perSecond, sessionsPerConnection }: Pick<RateLimitSettings, 'sessionsPerConnection'> & { readonly subscribesPerSecond: number }
): Budgets {
  return new Budgets({ clock, perSecond, atOnce: sessionsPerConnection * 2 })
}
