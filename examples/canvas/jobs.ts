import createError from '@fastify/error'
import { AgentError } from './agents/agent.js'

const refusals = {
  SessionBusy: createError('CANVAS_ERR_SESSION_BUSY',
    'session "%s" has a job running: wait for its ai_complete or ai_error, or use another sessionId', 409),
  TooManyJobs: createError('CANVAS_ERR_TOO_MANY_JOBS',
    '%s jobs are running, which is as many as this server takes on: ask again when one has ended', 429),
  Closing: createError('CANVAS_ERR_CLOSING', 'the server is closing: ask again in a moment', 503)
}

export interface JobsOptions {
  /** How many jobs may run at once. */
  max: number
  maxDurationMs: number
}

/** A running job's place among the others. */
export interface Slot {
  signal: AbortSignal
  /** Lets the session's next job begin although this one has still to say that it ended. */
  release: () => void
}

/**
 * The jobs that are running: so many at once, each for so long, and one for each session, because a client written from
 * the platform's documentation looks at no `jobId`: of two it could not tell whose progress or end a message is.
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

  /** Begins a job, which must not reject. Throws one of `refusals` when there is no room for it. */
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

  /** Stops every job, and resolves when each has told its session. */
  async close (): Promise<void> {
    this.#closing = true
    const reason = new AgentError('server_closing', 'the server is closing: ask again in a moment')
    for (const controller of this.#running.values()) controller.abort(reason)
    await Promise.allSettled(this.#running.keys())
  }
}
