import type { Environment, Timer } from './environment.js'
import type { SubscriptionStatus } from './jobs.js'
import type { ClientLimits } from './messages.js'
import type { Session } from './session.js'
import type { Socket } from './socket.js'

/** The share of the message size limit that a batch may fill. One UTF-16 unit takes up to three bytes of UTF-8. */
const BATCH_SHARE = 0.25
/** The message size limit, in bytes, of a server that doesn't state one. */
const DEFAULT_MESSAGE_BYTES = 65_536

/**
 * Brings the server's subscriptions in line with the page's subscribers. A flush unsubscribes from sessions without
 * subscribers, then subscribes to sessions with subscribers while there is room. Flushes stay below the server's rate limit.
 * A session that gains and loses its subscribers between two flushes costs no message.
 */
export class Reconciler {
  readonly sessions = new Map<string, Session>()
  readonly #clock: Environment['clock']
  /** The app's own messages. They are sent after those about sessions. */
  readonly #queue: string[]
  #timer: Timer | undefined
  /** The connected socket, if any. */
  #socket: Socket | undefined
  /** The maximum number of sessions on this connection. */
  #capacity = Infinity
  /** Whether the server stated that limit. */
  #isLimitStated = false
  /** The largest batch, in UTF-16 units. 0 for a server without batch support: then each session takes a message. */
  #batchUnits = 0

  constructor (clock: Environment['clock'], queue: string[]) {
    this.#clock = clock
    this.#queue = queue
  }

  connected (limits: ClientLimits | undefined, socket: Socket | undefined): void {
    const { sessions, messageBytes = DEFAULT_MESSAGE_BYTES } = limits ?? {}
    this.#socket = socket
    this.#isLimitStated = sessions !== undefined
    this.#capacity = sessions ?? Infinity
    this.#batchUnits = limits ? messageBytes * BATCH_SHARE : 0
  }

  disconnected (): void {
    this.#socket = undefined
  }

  /** Schedules a flush. All changes in one turn of the event loop share one flush. */
  schedule (ms = 0): void {
    this.#timer ??= this.#clock.after(ms, () => { this.flush() })
  }

  /** Handles `too_many_sessions`. Returns whether the client can tell when there is room again. */
  limitReached (): boolean {
    // If the limit was stated, the server counts sessions that this client doesn't know about.
    if (!this.#isLimitStated) this.#capacity = [...this.sessions.values()].filter(({ isRequested }) => isRequested).length
    return !this.#isLimitStated
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
      const text = this.#unsubscribe(changes) ?? (socket && (this.#subscribe(changes) ?? this.#queue.shift()))
      if (!text) break
      socket?.send(text)
    }
    // Last, because a listener may call anything, even `flush`.
    for (const [session, status] of changes) session.setStatus(status)
  }

  /** Returns the next `unsubscribe` message, if there is one to send. */
  #unsubscribe (changes: Map<Session, SubscriptionStatus>): string | undefined {
    const ids = new Batch('unsubscribe', this.#batchUnits)
    for (const session of this.sessions.values()) {
      const { id, isWanted, isRequested, throttle } = session
      // The session in the query of an opening connection can be left only when the connection is open.
      if (isWanted || (isRequested && (!this.#socket || !ids.add({ sessionId: id })))) continue
      session.unsubscribed()
      changes.set(session, 'none')
      if (session.unsubscribing === 0 && !throttle.hasListeners) this.sessions.delete(id)
    }
    return ids.text
  }

  /** Returns the next `subscribe` message, if there is one to send. */
  #subscribe (changes: Map<Session, SubscriptionStatus>): string | undefined {
    const entries = new Batch('subscribe', this.#batchUnits)
    const wanted = [...this.sessions.values()].filter(({ isWanted }) => isWanted)
    let room = this.#capacity - wanted.filter(({ isRequested }) => isRequested).length
    for (const session of wanted) {
      const { id: sessionId, isDue, isRequested, inFlight, retryTimer, status, position: { since }, jobs: { have } } = session
      if (!isDue || inFlight || retryTimer) continue
      const hasRoom = isRequested || --room >= 0
      if (status !== 'subscribed') changes.set(session, hasRoom ? 'pending' : 'waiting')
      if (hasRoom && entries.add({ sessionId, since, have })) session.requested()
    }
    return entries.text
  }
}

interface Entry {
  readonly sessionId: string
  readonly since?: string | undefined
  readonly have?: Record<string, number> | undefined
}

/** A `subscribe` or `unsubscribe` message for several sessions. With one entry it has the form that every server supports. */
class Batch {
  readonly #type: 'subscribe' | 'unsubscribe'
  readonly #entries: Entry[] = []
  #units: number

  constructor (type: 'subscribe' | 'unsubscribe', units: number) {
    this.#type = type
    this.#units = units
  }

  /** The serialized message. Undefined without entries. */
  get text (): string | undefined {
    const type = this.#type
    const [first, ...others] = this.#entries
    const sessions = type === 'subscribe' ? this.#entries : this.#entries.map(({ sessionId }) => sessionId)
    return first && JSON.stringify({ type, ...(others.length === 0 ? first : { sessions }) })
  }

  /** Adds an entry if it fits; the first always does. Returns whether it was added. */
  add (entry: Entry): boolean {
    this.#units -= JSON.stringify(entry).length
    const fits = this.#units >= 0 || this.#entries.length === 0
    if (fits) this.#entries.push(entry)
    return fits
  }
}
