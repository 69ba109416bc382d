import type { Broker, CancelResult } from '../streams/broker.js'
import type { Clock } from '../util/clock.js'
import { TIMED_OUT, withDeadline } from '../util/deadline.js'
import { isPromise, tryThen, andThen, type MaybePromise } from '../util/maybe-promise.js'
import type { Connection } from './connection.js'
import type { Subscriptions } from './subscriptions.js'
import { JobMap } from '../util/job-map.js'
import type { Logger } from '../util/logger.js'
import type { Replies } from './replies.js'

/** Hook that cancels a job without a handle on this node. Returns false, or a promise of it, if the job can't be cancelled. */
export type OnCancel = (job: { sessionId: string, jobId: string }) => MaybePromise<unknown>

/**
 * Outcome of a cancel: the job that was cancelled, or the reason for the failure. `not_cancellable`: the job's node has no
 * handle and does not accept it. `unavailable`: that node failed or timed out. `forbidden`: the client's right was revoked
 * meanwhile.
 */
export type Cancelled = { readonly jobId: string } | 'not_cancellable' | 'unavailable' | 'forbidden'

/** Number of jobs that other nodes run and whose handles are kept. */
const MAX_DISOWNED = 1_000

const FORBIDDEN = 'you may not cancel this job'
const UNAVAILABLE = 'the cancel could not be processed: try again later'

export interface CancellationsOptions {
  readonly clock: Clock
  readonly broker: Broker
  readonly subscriptions: Subscriptions
  readonly replies: Replies
  readonly log: Logger
  /** Whether clients may cancel jobs. If true, `authorize` decides about each request. */
  readonly allowed: boolean
  readonly onCancel: OnCancel | undefined
  /** Timeout of `onCancel`, in milliseconds. */
  readonly authTimeoutMs: number
}

/** Handle of a running job. */
export interface CancellableJob {
  readonly sessionId: string
  readonly jobId: string
  cancel (): void
  stall (): void
}

/** The handles of one job. There are several if it was started several times. */
interface JobHandles {
  readonly sessionId: string
  readonly jobId: string
  /** Never mutated, because a cancel uses the array in a later microtask. */
  readonly handles: readonly CancellableJob[]
}

/** Passes cancel requests to the handles of jobs. The job itself decides whether and when it ends. */
export class Cancellations {
  readonly #options: CancellationsOptions
  readonly #jobs = new JobMap<JobHandles>()
  /** Those of jobs that other nodes run, the newest last. */
  readonly #disowned = new Set<JobHandles>()

  constructor (options: CancellationsOptions) {
    this.#options = options
  }

  addHandle (job: CancellableJob): void {
    const { sessionId, jobId } = job
    this.#jobs.add({ sessionId, jobId, handles: [...this.#handles(sessionId, jobId), job] })
  }

  /** Forgets the handles of a job that has ended. */
  ended (sessionId: string, jobId: string): void {
    this.#jobs.delete(sessionId, jobId)
  }

  /**
   * Handles that another node runs a job. Its handles stay, because this node may run it again. No one reports its end here, so
   * only the newest such jobs keep theirs.
   */
  disowned (sessionId: string, jobId: string): void {
    const handles = this.#jobs.get(sessionId, jobId)
    if (handles === undefined) return
    this.#disowned.delete(handles)
    this.#disowned.add(handles)
    for (const oldest of this.#disowned) {
      if (this.#disowned.size <= MAX_DISOWNED) break
      this.#disowned.delete(oldest)
      if (this.#jobs.get(oldest.sessionId, oldest.jobId) === oldest) this.ended(oldest.sessionId, oldest.jobId)
    }
  }

  /** Notifies the handles of a job that it stalled. */
  stalled (sessionId: string, jobId: string): void {
    for (const handle of this.#handles(sessionId, jobId)) handle.stall()
  }

  /** Forgets the handle of a job that could not be started. */
  removeHandle (job: CancellableJob): void {
    const { sessionId, jobId } = job
    const handles = this.#handles(sessionId, jobId).filter((each) => each !== job)
    if (handles.length > 0) this.#jobs.add({ sessionId, jobId, handles })
    else this.#jobs.delete(sessionId, jobId)
  }

  /** Handles a client's `cancel`. Always answers the client. */
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
    subscriptions.decide(connection, action, (permission, isStillAllowed) => {
      if (permission !== 'allowed') {
        refuse(permission, permission === 'forbidden' ? FORBIDDEN : UNAVAILABLE)
        return
      }
      return tryThen(() => this.cancel(sessionId, jobId, isStillAllowed), (cancelled) => {
        if (cancelled === 'forbidden') refuse(cancelled, FORBIDDEN)
        else if (cancelled === 'not_cancellable') refuse(cancelled, 'no such job is running, or it can\'t be cancelled')
        else if (cancelled === 'unavailable') refuse(cancelled, UNAVAILABLE)
        else replies.cancelling(connection, sessionId, cancelled.jobId)
      }, (err) => {
        log.error({ err, clientId: connection.id, sessionId }, 'the broker failed to pass on a cancel')
        refuse('unavailable', UNAVAILABLE)
      })
    })
  }

  /**
   * Passes a cancel to the node that owns the job. Calls `isStillAllowed` once the job is known, because the broker may take a
   * while to find it.
   */
  cancel (sessionId: string, jobId: string | undefined, isStillAllowed: () => boolean = () => true): MaybePromise<Cancelled> {
    const { broker } = this.#options
    return andThen(jobId ?? broker.currentJob(`session:${sessionId}`), (found) => {
      if (found === undefined) return 'not_cancellable'
      if (!isStillAllowed()) return 'forbidden'
      return andThen(broker.cancel(`session:${sessionId}`, found), (result): Cancelled => {
        if (result === 'failed') return 'unavailable'
        return result ? { jobId: found } : 'not_cancellable'
      })
    })
  }

  /** Cancels a job on this node. Returns synchronously if there is a handle or the hook does, and always within the timeout. */
  cancelLocally (sessionId: string, jobId: string): MaybePromise<CancelResult> {
    const { onCancel, log, clock, authTimeoutMs } = this.#options
    const handles = this.#handles(sessionId, jobId)
    if (handles.length > 0) {
      // In a microtask, so that the answer is sent before the job's end.
      queueMicrotask(() => { for (const handle of handles) handle.cancel() })
      return true
    }
    if (onCancel === undefined) return false
    return tryThen(() => {
      const answer = onCancel({ sessionId, jobId })
      return isPromise(answer) ? withDeadline(clock, authTimeoutMs, answer) : answer
    }, (answer): CancelResult => {
      if (answer !== TIMED_OUT) return answer !== false
      log.warn({ sessionId, jobId, authTimeoutMs }, 'onCancel did not settle in time')
      return 'failed'
    }, (err) => {
      log.error({ err, sessionId, jobId }, 'onCancel failed')
      return 'failed'
    })
  }

  #handles (sessionId: string, jobId: string): readonly CancellableJob[] {
    return this.#jobs.get(sessionId, jobId)?.handles ?? []
  }
}
