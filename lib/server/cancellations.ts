import type { Broker } from '../broker/broker.js'
import { isPromise, proceed, whenThere, type MaybePromise } from '../maybe-promise.js'
import type { Connection } from './connection.js'
import type { AIJob } from './ai-job.js'
import type { Follows } from './follows.js'
import type { Logger } from './logger.js'
import type { Replies } from './replies.js'

/** Asked to end a job that has no handle. Returning false says that it can't be ended. */
export type OnCancel = (job: { sessionId: string, jobId: string }) => unknown

const LATER = 'this could not be done now: try again later'

export interface CancellationsOptions {
  readonly broker: Broker
  readonly follows: Follows
  readonly replies: Replies
  readonly log: Logger
  /** Whether clients may cancel at all; which of them may what, `authorize` says. */
  readonly allowed: boolean
  readonly onCancel: OnCancel | undefined
}

/** Ends jobs on request: whoever listens for it is told. Whether and when the job then ends is its own affair. */
export class Cancellations {
  readonly #options: CancellationsOptions
  /** By session and job. The same job may have been started twice: then each handle is one of it. */
  readonly #handles = new Map<string, AIJob[]>()

  constructor (options: CancellationsOptions) {
    this.#options = options
  }

  listen (job: AIJob): void {
    const key = keyOf(job.sessionId, job.jobId)
    this.#handles.set(key, [...this.#handles.get(key) ?? [], job])
  }

  /** The job has ended, whoever reported that. */
  ended (sessionId: string, jobId: string): void {
    this.#handles.delete(keyOf(sessionId, jobId))
  }

  /** It never began. */
  unlisten (job: AIJob): void {
    const key = keyOf(job.sessionId, job.jobId)
    const others = this.#handles.get(key)?.filter((each) => each !== job) ?? []
    if (others.length > 0) this.#handles.set(key, others)
    else this.#handles.delete(key)
  }

  /** Carries out a client's `cancel`. It answers the client itself, whatever happens. */
  request (connection: Connection, sessionId: string, jobId: string | undefined): void {
    const { follows, replies, allowed, log } = this.#options
    const refuse = (code: 'forbidden' | 'unavailable' | 'not_cancellable', message: string, of = jobId): void => {
      replies.error(connection, code, message, sessionId, of)
    }
    const action = { type: 'cancel', sessionId, ...(jobId !== undefined && { jobId }) } as const
    void whenThere(allowed ? follows.permit(connection.identity, action) : 'forbidden', (permission) => {
      if (permission !== 'allowed') {
        refuse(permission, permission === 'forbidden' ? 'you may not cancel this job' : LATER)
        return
      }
      return proceed(() => this.cancel(sessionId, jobId), (cancelled) => {
        if (cancelled === undefined) refuse('not_cancellable', 'no such job is running here that could be cancelled')
        else replies.cancelling(connection, sessionId, cancelled)
      }, (err) => {
        log.error({ err, clientId: connection.id, sessionId }, 'the broker could not pass on a cancel')
        refuse('unavailable', LATER)
      })
    })
  }

  /** Tells every node. Answers the job's id, or undefined when nobody listens for it. */
  cancel (sessionId: string, jobId: string | undefined): MaybePromise<string | undefined> {
    const { broker } = this.#options
    return whenThere(jobId ?? broker.currentJob(`session:${sessionId}`), (found) => {
      if (found === undefined) return undefined
      return whenThere(broker.control({ type: 'cancel', sessionId, jobId: found }), (taken) => taken ? found : undefined)
    })
  }

  /** Carries out an order on this node. */
  carryOut (sessionId: string, jobId: string): boolean {
    const { onCancel, log } = this.#options
    const handles = this.#handles.get(keyOf(sessionId, jobId))
    if (handles !== undefined) {
      // The answer leaves first: the job's end may follow at once.
      queueMicrotask(() => { for (const handle of handles) handle.cancel() })
      return true
    }
    if (onCancel === undefined) return false
    const failed = (err: unknown): void => { log.error({ err, sessionId, jobId }, 'onCancel failed') }
    try {
      const answer = onCancel({ sessionId, jobId })
      if (isPromise(answer)) answer.then(undefined, failed)
      return answer !== false
    } catch (error) {
      failed(error)
      return false
    }
  }
}

function keyOf (sessionId: string, jobId: string): string {
  return JSON.stringify([sessionId, jobId])
}
