import type { Emitter } from './emitter.js'
import type { Environment, Timer } from './environment.js'
import { Jobs, snapshotOf, type JobsSnapshot, type SubscriptionStatus } from './jobs.js'
import type { SubscriptionChange } from './options.js'
import { FrameThrottle } from './frame-throttle.js'
import { Position } from './positions.js'

/** The state of one session: its subscribers, its subscription on the server, its stream position and its jobs. */
export class Session {
  readonly id: string
  readonly #emitter: Emitter
  readonly position = new Position()
  readonly jobs = new Jobs()
  /** Calls the listeners of the snapshot. */
  readonly throttle: FrameThrottle
  /** The subscribers of the session. */
  readonly subscribers = new Set<object>()
  /** Whether the server counts the session: a `subscribe` was sent on this connection, and neither refused nor undone. */
  isRequested = false
  /** Whether a `subscribe` must be sent (again). The server repeats after its reply what arrives of the stream before it. */
  isDue = true
  /** Whether a `subscribe` is in flight. */
  inFlight = false
  /** Delays the next `subscribe` after the server replied `unavailable`. */
  retryTimer: Timer | undefined
  /** Number of `unsubscribe` messages in flight. Until their replies, messages of the session belong to an older request. */
  unsubscribing = 0
  /** Number of `unavailable` replies in a row. */
  retries = 0
  /** Whether a snapshot has arrived since the client subscribed. */
  isKnown = false
  status: SubscriptionStatus = 'none'
  #snapshot: JobsSnapshot | undefined

  constructor (id: string, environment: Environment, emitter: Emitter) {
    this.id = id
    this.throttle = new FrameThrottle(environment)
    this.#emitter = emitter
  }

  get isWanted (): boolean {
    return this.subscribers.size > 0
  }

  /** The same object until `changed` is called. */
  get snapshot (): JobsSnapshot {
    return this.#snapshot ??= snapshotOf(this.jobs, this.isKnown, this.status)
  }

  /** Invalidates the snapshot and notifies listeners; if `urgent`, without waiting for the end of the frame. */
  changed (urgent = true): void {
    this.#snapshot = undefined
    this.throttle.notify(urgent)
  }

  setStatus (status: SubscriptionStatus): void {
    if (this.status === status) return
    this.status = status
    this.changed()
    this.#emitter.emit('subscription', { sessionId: this.id, status } satisfies SubscriptionChange)
  }

  /** Records that a `subscribe` is being sent. */
  requested (): void {
    this.isRequested = this.inFlight = true
    this.isDue = false
  }

  /** Records that the server has no subscription to the session, and that no `subscribe` is in flight. */
  reset (): void {
    this.isRequested = this.inFlight = false
    this.isDue = true
    this.retryTimer?.cancel()
    this.retryTimer = undefined
  }

  /** Records that the session has no subscribers, and that an `unsubscribe` is being sent if the server counts it. */
  unsubscribed (): void {
    if (this.isRequested) this.unsubscribing++
    this.reset()
    this.isKnown = false
    this.position.reset()
  }
}
