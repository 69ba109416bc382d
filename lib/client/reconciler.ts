import type { Allowance } from './allowance.js'
import type { Environment, Timer } from './environment.js'
import type { SubscriptionStatus } from './jobs.js'
import type { ClientLimits } from './messages.js'
import type { Session } from './session.js'

/** What a message says about one session. */
interface Entry {
  readonly sessionId?: string
  readonly since?: string | undefined
  readonly have?: object | undefined
}

export interface ReconcilerOptions {
  readonly clock: Environment['clock']
  readonly allowance: Allowance
  readonly sessions: Map<string, Session>
  readonly write: (message: object) => void
  readonly enter: (session: Session, status: SubscriptionStatus) => void
}

/**
 * Flushes that are sent without an answer to any of them. The network may hold messages back and deliver them together, which
 * exceeds the server's rate limit.
 */
const MAX_UNANSWERED = 16
/** The share of the longest message that a batch fills: a UTF-16 unit is up to three bytes of UTF-8. */
const BATCH_SHARE = 0.25
/** The longest message that a server takes which does not say. */
const DEFAULT_BYTES = 65_536

/**
 * Moves what the server holds towards what the page wants. A flush leaves the sessions that nobody wants any more, then asks
 * for those that are wanted, as many as there is room for. Flushes stay below the server's rate limit: when they are paced,
 * what came and went between two of them costs no message.
 */
export class Reconciler {
  readonly #options: ReconcilerOptions
  #timer: Timer | undefined
  #isConnected = false
  /** Sessions that the connection may follow. */
  #capacity = Infinity
  /** The longest batch, in UTF-16 units. 0 for a server that knows no batches: then each session is a message. */
  #batchUnits = 0
  /** Flushes since the server last answered a message of one. */
  #unanswered = 0

  constructor (options: ReconcilerOptions) {
    this.#options = options
  }

  connected (limits: ClientLimits | undefined): void {
    const { sessions = Infinity, messageBytes = DEFAULT_BYTES } = limits ?? {}
    this.#isConnected = true
    this.#capacity = sessions
    this.#batchUnits = limits === undefined ? 0 : messageBytes * BATCH_SHARE
    this.#unanswered = 0
    this.flush()
  }

  disconnected (): void {
    this.#isConnected = false
  }

  /** What is wanted has changed. Everything that changes within one turn of the event loop is one flush. */
  schedule (ms = 0): void {
    this.#timer ??= this.#options.clock.after(ms, () => { this.flush() })
  }

  /** There is no more room than for the sessions that are held. The server did not say so before. */
  full (): void {
    this.#capacity = [...this.#options.sessions.values()].filter(({ isHeld }) => isHeld).length
  }

  /** The server has answered a `subscribe` or an `unsubscribe`. */
  answered (): void {
    const isBlocked = this.#unanswered >= MAX_UNANSWERED
    this.#unanswered = 0
    if (isBlocked) this.schedule()
  }

  flush (): void {
    this.#timer?.cancel()
    this.#timer = undefined
    if (!this.#isConnected) {
      this.#leave()
      return
    }
    const { waitMs } = this.#options.allowance
    if (waitMs > 0) this.schedule(waitMs)
    else if (this.#unanswered < MAX_UNANSWERED && this.#leave() + this.#ask() > 0) this.#unanswered++
  }

  /** Returns how many messages that took. */
  #leave (): number {
    const { sessions, enter } = this.#options
    const entries: Entry[] = []
    for (const session of sessions.values()) {
      const { id: sessionId, isWanted, isHeld, pace } = session
      // One in the query of a connection that is being opened can be left only when that is open.
      if (isWanted || (isHeld && !this.#isConnected)) continue
      if (isHeld) entries.push({ sessionId })
      session.left()
      enter(session, 'none')
      if (!pace.isHeard) sessions.delete(sessionId)
    }
    return this.#write('unsubscribe', entries)
  }

  /** Returns how many messages that took. */
  #ask (): number {
    const { sessions, enter } = this.#options
    const wanted = [...sessions.values()].filter(({ isWanted }) => isWanted)
    let room = this.#capacity - wanted.filter(({ isHeld }) => isHeld).length
    const entries: Entry[] = []
    for (const session of wanted) {
      const { id: sessionId, isDue, isHeld, isAsking, isPaused, status, position: { since }, jobs: { have } } = session
      if (!isDue || isAsking || isPaused) continue
      const hasRoom = isHeld || --room >= 0
      if (status !== 'subscribed') enter(session, hasRoom ? 'pending' : 'waiting')
      if (!hasRoom) continue
      entries.push({ sessionId, since, have })
      session.asked()
    }
    return this.#write('subscribe', entries)
  }

  /** Sends the entries in as few messages as the server takes. A single one has the form that every server knows. */
  #write (type: 'subscribe' | 'unsubscribe', entries: readonly Entry[]): number {
    const batches: Entry[][] = []
    let room = 0
    for (const entry of entries) {
      const { length } = JSON.stringify(entry)
      room -= length
      if (room < 0) {
        batches.push([])
        room = this.#batchUnits - length
      }
      batches.at(-1)?.push(entry)
    }
    for (const batch of batches) {
      const sessions = type === 'subscribe' ? batch : batch.map(({ sessionId }) => sessionId)
      this.#options.allowance.spend()
      this.#options.write({ type, ...(batch.length === 1 ? batch[0] : { sessions }) })
    }
    return batches.length
  }
}
