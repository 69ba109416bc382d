import createError from '@fastify/error'
import { AgentError } from './agents/agent.js'

const refusals = {
  SessionBusy: createError('CANVAS_ERR_SESSION_BUSY',
    'session "%s" has a job running: wait for its ai_complete or ai_error, or use another sessionId', 409),
  TooManyJobs: createError('CANVAS_ERR_TOO_MANY_JOBS',
    '%s jobs are running, which is this server\'s limit: try again when one has ended', 429),
  Closing: createError('CANVAS_ERR_CLOSING', 'the server is closing: try again in a moment', 503)
}

export interface JobsOptions {
  /** The maximum number of running jobs. */
  max: number
  maxDurationMs: number
}

/** The slot of a running job. */
export interface Slot {
  signal: AbortSignal
  /** Allows the session's next job to start before this one has reported its end. */
  release: () => void
}

/**
 * Tracks the running jobs. Limits their number and duration, and allows one per session, because a client written from the
 * platform's documentation ignores `jobId` and could not tell the messages of two jobs apart.
 */
export class Jobs {
  readonly #max: number
  readonly #maxDurationMs: number
  readonly #bySession = new Map<string, AbortController>()
  readonly #running = new Map<Promise<void>, AbortController>()
  #closing = false

  constructor ({ max, maxDurationMs }: JobsOptions) {
    this.#max = max
    this.#maxDurationMs = maxDurationMs
  }

  /** Starts a job, which must not reject. Throws one of `refusals` if there is no slot. */
  start (sessionId: string, run: (slot: Slot) => Promise<void>): void {
    if (this.#closing) throw new refusals.Closing()
    if (this.#bySession.has(sessionId)) throw new refusals.SessionBusy(sessionId)
    if (this.#bySession.size >= this.#max) throw new refusals.TooManyJobs(this.#max)

    const controller = new AbortController()
    const deadline = setTimeout(() => {
      controller.abort(new AgentError('timeout_error', `the job was stopped after ${this.#maxDurationMs / 1000} seconds: ask for less at a time`))
    }, this.#maxDurationMs)
    const release = (): void => {
      if (this.#bySession.get(sessionId) === controller) this.#bySession.delete(sessionId)
    }
    this.#bySession.set(sessionId, controller)
    const ended = run({ signal: controller.signal, release }).finally(() => {
      clearTimeout(deadline)
      release()
      this.#running.delete(ended)
    })
    this.#running.set(ended, controller)
  }

  /** Stops every job. Resolves when each has reported its end to its session. */
  async close (): Promise<void> {
    this.#closing = true
    const reason = new AgentError('server_closing', 'the server is closing: try again in a moment')
    for (const controller of this.#running.values()) controller.abort(reason)
    await Promise.allSettled(this.#running.keys())
  }
}
