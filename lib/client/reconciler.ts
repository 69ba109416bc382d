import type { Environment, Timer } from './environment.js'
import type { SubscriptionStatus } from './jobs.js'
import type { ClientLimits } from './messages.js'
import type { Session } from './session.js'
import type { Socket } from './socket.js'

/** The share of the longest message that a batch fills: a UTF-16 unit is up to three bytes of UTF-8. */
const BATCH_SHARE = 0.25
/** The longest message that a server takes which does not say. */
const DEFAULT_BYTES = 65_536

/**
 * Moves what the server holds towards what the page wants. A flush unsubscribes from the sessions that nobody wants any
 * more, then subscribes to wanted ones while there is room. Flushes stay below the server's rate limit. A session that is wanted
 * and released between two flushes costs no message.
 */
export class Reconciler {
  readonly sessions = new Map<string, Session>()
  readonly #clock: Environment['clock']
  /** The app's own messages, which go behind those about sessions. */
  readonly #queue: string[]
  #timer: Timer | undefined
  /** That of the connection, if there is one. */
  #socket: Socket | undefined
  /** Sessions that the connection may follow, and whether the server has said so. */
  #capacity = Infinity
  #isStated = false
  /** The longest batch, in UTF-16 units. 0 for a server that knows no batches: then each session is a message. */
  #batchUnits = 0

  constructor (clock: Environment['clock'], queue: string[]) {
    this.#clock = clock
    this.#queue = queue
  }

  connected (limits: ClientLimits | undefined, socket: Socket | undefined): void {
    const { sessions, messageBytes = DEFAULT_BYTES } = limits ?? {}
    this.#socket = socket
    this.#isStated = sessions !== undefined
    this.#capacity = sessions ?? Infinity
    this.#batchUnits = limits ? messageBytes * BATCH_SHARE : 0
  }

  disconnected (): void {
    this.#socket = undefined
  }

  /** What is wanted has changed. Everything that changes within one turn of the event loop is one flush. */
  schedule (ms = 0): void {
    this.#timer ??= this.#clock.after(ms, () => { this.flush() })
  }

  /** The server had no room for a session. Returns whether it will be known when there is some. */
  full (): boolean {
    // If the limit was stated, the server counts sessions of which it is not known here.
    if (!this.#isStated) this.#capacity = [...this.sessions.values()].filter(({ isHeld }) => isHeld).length
    return !this.#isStated
  }

  flush (): void {
    const socket = this.#socket
    const changes = new Map<Session, SubscriptionStatus>()
    this.#timer?.cancel()
    this.#timer = undefined
    for (;;) {
      const waitMs = socket?.waitMs ?? 0
      if (waitMs > 0) {
        this.schedule(waitMs)
        break
      }
      const text = this.#leave(changes) ?? (socket && (this.#ask(changes) ?? this.#queue.shift()))
      if (!text) break
      socket?.send(text)
    }
    // Last, because a listener may do anything, also flush.
    for (const [session, status] of changes) session.enter(status)
  }

  /** Returns the next message that leaves sessions. */
  #leave (changes: Map<Session, SubscriptionStatus>): string | undefined {
    const ids = new Batch('unsubscribe', this.#batchUnits)
    for (const session of this.sessions.values()) {
      const { id, isWanted, isHeld, throttle } = session
      // One in the query of a connection that is being opened can be left only when that is open.
      if (isWanted || (isHeld && (!this.#socket || !ids.add({ sessionId: id })))) continue
      session.left()
      changes.set(session, 'none')
      if (session.leaving === 0 && !throttle.isHeard) this.sessions.delete(id)
    }
    return ids.text
  }

  /** Returns the next message that asks for sessions. */
  #ask (changes: Map<Session, SubscriptionStatus>): string | undefined {
    const entries = new Batch('subscribe', this.#batchUnits)
    const wanted = [...this.sessions.values()].filter(({ isWanted }) => isWanted)
    let room = this.#capacity - wanted.filter(({ isHeld }) => isHeld).length
    for (const session of wanted) {
      const { id: sessionId, isDue, isHeld, isAsking, pause, status, position: { since }, jobs: { have } } = session
      if (!isDue || isAsking || pause) continue
      const hasRoom = isHeld || --room >= 0
      if (status !== 'subscribed') changes.set(session, hasRoom ? 'pending' : 'waiting')
      if (hasRoom && entries.add({ sessionId, since, have })) session.asked()
    }
    return entries.text
  }
}

interface Entry {
  readonly sessionId: string
  readonly since?: string | undefined
  readonly have?: Record<string, number> | undefined
}

/** A message about sessions. With one entry it has the form that every server knows, so that one always fits. */
class Batch {
  readonly #type: 'subscribe' | 'unsubscribe'
  readonly #entries: Entry[] = []
  #units: number

  constructor (type: 'subscribe' | 'unsubscribe', units: number) {
    this.#type = type
    this.#units = units
  }

  /** Undefined without entries. */
  get text (): string | undefined {
    const type = this.#type
    const [first, ...others] = this.#entries
    const sessions = type === 'subscribe' ? this.#entries : this.#entries.map(({ sessionId }) => sessionId)
    return first && JSON.stringify({ type, ...(others.length === 0 ? first : { sessions }) })
  }

  /** Returns whether there was room for the entry. */
  add (entry: Entry): boolean {
    this.#units -= JSON.stringify(entry).length
    const fits = this.#units >= 0 || this.#entries.length === 0
    if (fits) this.#entries.push(entry)
    return fits
  }
}
