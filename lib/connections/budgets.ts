import type { Clock, Timer } from '../util/clock.js'
import type { Connection } from './connection.js'
import type { ConnectionWatcher } from './connection-registry.js'
import type { RateLimitSettings } from './rate-limit.js'

/** A replay budget holds at most what comes in in so many seconds. */
const REPLAY_BURST_SECONDS = 4

export interface BudgetsOptions {
  readonly clock: Clock
  /** What each connection may spend in the long run. Infinity means no limit. */
  readonly perSecond: number
  /** What it may spend at once. */
  readonly atOnce: number
}

interface Budget {
  left: number
  refilledAt: number
  /** Work that waits for its turn, by session, and the timer of the first. */
  readonly waiting: Map<string, () => void>
  timer: Timer | undefined
  /** Whether waiting work is being begun: work that comes meanwhile joins the end of the queue. */
  isServing: boolean
}

/**
 * A token bucket for each connection, and a queue for the work that it pays for. Work begins while anything is left,
 * whatever it costs, because its cost may be known only then. The next work waits, in order, until the debt is paid. So a
 * client that asks for much gets it slowly, and takes nobody's share of the server.
 */
export class Budgets implements ConnectionWatcher {
  readonly #options: BudgetsOptions
  /** Only of connections that spent something. */
  readonly #budgets = new WeakMap<Connection, Budget>()

  constructor (options: BudgetsOptions) {
    this.#options = options
  }

  /** Calls back when the work for a session may begin: at once if nothing is owed. Work that waits already is replaced. */
  whenAllowed (connection: Connection, sessionId: string, begin: () => void): void {
    const budget = this.#budgets.get(connection)
    if (budget === undefined) {
      begin()
      return
    }
    budget.waiting.set(sessionId, begin)
    if (budget.timer === undefined && !budget.isServing) this.#serve(budget)
  }

  /** Work of this cost was begun. */
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

  /** The session was left: its work waits no longer. */
  forget (connection: Connection, sessionId: string): void {
    this.#budgets.get(connection)?.waiting.delete(sessionId)
  }

  added (): void { /* A budget is made when something is spent. */ }

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

/** How many bytes of the past each connection may be sent. */
export function replayBudgets (clock: Clock, { replayBytesPerSecond: perSecond }: { readonly replayBytesPerSecond: number }): Budgets {
  return new Budgets({ clock, perSecond, atOnce: perSecond * REPLAY_BURST_SECONDS })
}

/**
 * How many sessions each connection may begin to follow. What a page shows can be replaced at once, and what replaces it again:
 * that makes twice as many sessions as it may follow.
 */
export function subscribeBudgets (
  clock: Clock, { subscribesPerSecond: perSecond, sessionsPerConnection }: Pick<RateLimitSettings, 'sessionsPerConnection'> & { readonly subscribesPerSecond: number }
): Budgets {
  return new Budgets({ clock, perSecond, atOnce: sessionsPerConnection * 2 })
}
