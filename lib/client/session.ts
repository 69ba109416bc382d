import type { Emitter } from './emitter.js'
import type { Environment, Timer } from './environment.js'
import { Jobs, snapshotOf, type JobsSnapshot, type SubscriptionStatus } from './jobs.js'
import type { SubscriptionChange } from './options.js'
import { FrameThrottle } from './frame-throttle.js'
import { Position } from './positions.js'

/** One session: what the page wants of it, what the server holds, where its stream is, and its jobs. */
export class Session {
  readonly id: string
  readonly #emitter: Emitter
  readonly position = new Position()
  readonly jobs = new Jobs()
  /** Listeners to the jobs and the status. */
  readonly throttle: FrameThrottle
  /** Everybody who wants the session to be followed. */
  readonly holders = new Set<object>()
  /** Whether the server counts it: it was asked for on this connection, and was neither left nor refused since. */
  isHeld = false
  /** Whether a `subscribe` has to be sent, also again. What comes of the stream before the answer comes again behind it. */
  isDue = true
  /** Whether a `subscribe` is not answered yet. */
  isAsking = false
  /** While it is set, the session is not asked for: the server could not decide. */
  pause: Timer | undefined
  /**
   * How many `unsubscribe` messages are not answered yet. Until they are, what comes of the session belongs to a request from
   * before them.
   */
  leaving = 0
  /** How often in a row the server could not decide. */
  retries = 0
  /** Whether its jobs are known: the present state has come once since it was followed. */
  isKnown = false
  status: SubscriptionStatus = 'none'
  #snapshot: JobsSnapshot | undefined

  constructor (id: string, environment: Environment, emitter: Emitter) {
    this.id = id
    this.throttle = new FrameThrottle(environment)
    this.#emitter = emitter
  }

  get isWanted (): boolean {
    return this.holders.size > 0
  }

  /** The same object until `changed` is called. */
  get snapshot (): JobsSnapshot {
    return this.#snapshot ??= snapshotOf(this.jobs, this.isKnown, this.status)
  }

  /** Something of the snapshot may have changed. Listeners hear of it at once if it is `urgent`. */
  changed (urgent = true): void {
    this.#snapshot = undefined
    this.throttle.tell(urgent)
  }

  enter (status: SubscriptionStatus): void {
    if (this.status === status) return
    this.status = status
    this.changed()
    this.#emitter.emit('subscription', { sessionId: this.id, status } satisfies SubscriptionChange)
  }

  /** A `subscribe` is sent. */
  asked (): void {
    this.isHeld = this.isAsking = true
    this.isDue = false
  }

  /** The server does not hold the session, and is not asked for it. */
  released (): void {
    this.isHeld = this.isAsking = false
    this.isDue = true
    this.pause?.cancel()
    this.pause = undefined
  }

  /** Nobody wants the session. If the server holds it, an `unsubscribe` is sent. */
  left (): void {
    if (this.isHeld) this.leaving++
    this.released()
    this.isKnown = false
    this.position.forget()
  }
}
