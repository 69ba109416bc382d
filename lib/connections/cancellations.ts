import type { Broker, ControlResult } from '../streams/broker.js'
import type { Clock } from '../util/clock.js'
import { TIMED_OUT, withDeadline } from '../util/deadline.js'
import { isPromise, tryThen, andThen, type MaybePromise } from '../util/maybe-promise.js'
import type { Connection } from './connection.js'
import type { Subscriptions } from './subscriptions.js'
import { JobMap } from '../util/job-map.js'
import type { Logger } from '../util/logger.js'
import type { Replies } from './replies.js'

/** Asked to end a job that has no handle. False, also as a promise, says that it can't be ended. */
export type OnCancel = (job: { sessionId: string, jobId: string }) => MaybePromise<unknown>

/** Outcome of a cancel: the job that was told to end; or why none was: nobody listens, that could not be found out, or the right has gone. */
export type Cancelled = { readonly jobId: string } | 'not_cancellable' | 'unavailable' | 'forbidden'

const FORBIDDEN = 'you may not cancel this job'
const LATER = 'this could not be done now: try again later'

export interface CancellationsOptions {
  readonly clock: Clock
  readonly broker: Broker
  readonly subscriptions: Subscriptions
  readonly replies: Replies
  readonly log: Logger
  /** Whether clients may cancel at all; which of them may what, `authorize` says. */
  readonly allowed: boolean
  readonly onCancel: OnCancel | undefined
  /** How long that may take, in milliseconds. */
  readonly authTimeoutMs: number
}

/** The handle of a running job. */
export interface CancellableJob {
  readonly sessionId: string
  readonly jobId: string
  cancel (): void
  stall (): void
}

/** Who listens for a job to be cancelled. It may have been started twice: then each handle is one of it. */
interface Listeners {
  readonly sessionId: string
  readonly jobId: string
  /** Not changed: a cancel tells them a moment after it found them. */
  readonly handles: readonly CancellableJob[]
}

/** Ends jobs on request: whoever listens for it is told. Whether and when the job then ends is its own affair. */
export class Cancellations {
  readonly #options: CancellationsOptions
  readonly #listeners = new JobMap<Listeners>()

  constructor (options: CancellationsOptions) {
    this.#options = options
  }

  listen (job: CancellableJob): void {
    const { sessionId, jobId } = job
    this.#listeners.add({ sessionId, jobId, handles: [...this.#handles(sessionId, jobId), job] })
  }

  /** The job has ended, whoever reported that. */
  ended (sessionId: string, jobId: string): void {
    this.#listeners.delete(sessionId, jobId)
  }

  /** Nothing was heard of the job for too long. */
  stalled (sessionId: string, jobId: string): void {
    for (const handle of this.#handles(sessionId, jobId)) handle.stall()
  }

  /** It never began. */
  unlisten (job: CancellableJob): void {
    const { sessionId, jobId } = job
    const handles = this.#handles(sessionId, jobId).filter((each) => each !== job)
    if (handles.length > 0) this.#listeners.add({ sessionId, jobId, handles })
    else this.#listeners.delete(sessionId, jobId)
  }

  /** Carries out a client's `cancel`. It answers the client itself, whatever happens. */
  request (connection: Connection, sessionId: string, jobId: string | undefined): void {
    const { subscriptions, replies, allowed, log } = this.#options
    const refuse = (code: 'forbidden' | 'unavailable' | 'not_cancellable', message: string): void => {
      replies.error(connection, code, message, { request: 'cancel', sessionId, jobId })
    }
    const action = { type: 'cancel', sessionId, ...(jobId !== undefined && { jobId }) } as const
    if (!allowed) {
      refuse('forbidden', FORBIDDEN)
      return
    }
    subscriptions.decide(connection, action, (permission, mayStill) => {
      if (permission !== 'allowed') {
        refuse(permission, permission === 'forbidden' ? FORBIDDEN : LATER)
        return
      }
      return tryThen(() => this.cancel(sessionId, jobId, mayStill), (cancelled) => {
        if (cancelled === 'forbidden') refuse(cancelled, FORBIDDEN)
        else if (cancelled === 'not_cancellable') refuse(cancelled, 'no such job is running here that could be cancelled')
        else if (cancelled === 'unavailable') refuse(cancelled, LATER)
        else replies.cancelling(connection, sessionId, cancelled.jobId)
      }, (err) => {
        log.error({ err, clientId: connection.id, sessionId }, 'the broker could not pass on a cancel')
        refuse('unavailable', LATER)
      })
    })
  }

  /** Tells every node. `mayStill` is asked once the job is known, which may take the broker a while. */
  cancel (sessionId: string, jobId: string | undefined, mayStill: () => boolean = () => true): MaybePromise<Cancelled> {
    const { broker } = this.#options
    return andThen(jobId ?? broker.currentJob(`session:${sessionId}`), (found) => {
      if (found === undefined) return 'not_cancellable'
      if (!mayStill()) return 'forbidden'
      return andThen(broker.control({ type: 'cancel', sessionId, jobId: found }), (obeyed): Cancelled => {
        if (obeyed === 'failed') return 'unavailable'
        return obeyed ? { jobId: found } : 'not_cancellable'
      })
    })
  }

  /** Carries out an order on this node. Answers at once where there is a handle or the hook does, and always within the deadline. */
  carryOut (sessionId: string, jobId: string): MaybePromise<ControlResult> {
    const { onCancel, log, clock, authTimeoutMs } = this.#options
    const handles = this.#handles(sessionId, jobId)
    if (handles.length > 0) {
      // The answer leaves first: the job's end may follow at once.
      queueMicrotask(() => { for (const handle of handles) handle.cancel() })
      return true
    }
    if (onCancel === undefined) return false
    return tryThen(() => {
      const answer = onCancel({ sessionId, jobId })
      return isPromise(answer) ? withDeadline(clock, authTimeoutMs, answer) : answer
    }, (answer): ControlResult => {
      if (answer !== TIMED_OUT) return answer !== false
      log.warn({ sessionId, jobId, authTimeoutMs }, 'onCancel did not settle in time')
      return 'failed'
    }, (err) => {
      log.error({ err, sessionId, jobId }, 'onCancel failed')
      return 'failed'
    })
  }

  #handles (sessionId: string, jobId: string): readonly CancellableJob[] {
    return this.#listeners.get(sessionId, jobId)?.handles ?? []
  }
}
