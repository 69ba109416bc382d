import type { Clock, Timer } from '../util/clock.js'
import { TIMED_OUT, withDeadline } from '../util/deadline.js'
import { isPromise, tryThen, type MaybePromise } from '../util/maybe-promise.js'
import { JobMap } from '../util/job-map.js'

/** How long a verdict that could not be reported waits for its next attempt, in milliseconds: twice as long each time. */
const MIN_RETRY_MS = 1_000
const MAX_RETRY_MS = 60_000
/** How long a report of a verdict may be under way before it counts as failed, in milliseconds. */
const REPORT_TIMEOUT_MS = 30_000

/** A job of which this process reported something, and no end. */
export class WatchedJob {
  readonly sessionId: string
  readonly jobId: string
  readonly #clock: Clock
  #heardAt = 0
  /** How often in a row its stall could not be reported, and when that is tried again. */
  #failures = 0
  #retryAt = -Infinity

  constructor (clock: Clock, sessionId: string, jobId: string) {
    this.#clock = clock
    this.sessionId = sessionId
    this.jobId = jobId
    this.keepAlive()
  }

  /** Something was heard of it. Cheap enough for each chunk of a stream: no timer is set. */
  keepAlive (): void {
    this.#heardAt = this.#clock.monotonic()
  }

  /** When it counts as stalled, if nothing is heard until then. */
  dueAt (stallAfterMs: number): number {
    return Math.max(this.#heardAt + stallAfterMs, this.#retryAt)
  }

  /** Its stall could not be reported: that is tried again. */
  failed (): void {
    this.#retryAt = this.#clock.monotonic() + Math.min(MIN_RETRY_MS * 2 ** this.#failures++, MAX_RETRY_MS)
  }
}

/**
 * Watches over the jobs that this process reports on: one of which nothing is heard for too long has stalled. A stall is
 * reported until the outcome is known: a job whose only report failed would never end for those who follow it.
 */
export class Watchdog {
  readonly #clock: Clock
  readonly #stallAfterMs: number
  readonly #onStall: (job: WatchedJob) => MaybePromise<unknown>
  readonly #jobs = new JobMap<WatchedJob>()
  #timer: Timer | undefined
  #timerAt = Infinity
  #stopped = false

  /** `onStall` reports a stall. It is called again, later, when it throws or rejects, or does not settle. */
  constructor (options: { clock: Clock, stallAfterMs: number, onStall: (job: WatchedJob) => MaybePromise<unknown> }) {
    this.#clock = options.clock
    this.#stallAfterMs = options.stallAfterMs
    this.#onStall = options.onStall
  }

  /** Something was reported of a job: from now on it is watched. */
  keepAlive (sessionId: string, jobId: string): void {
    const known = this.find(sessionId, jobId)
    if (known !== undefined) {
      known.keepAlive()
      return
    }
    this.#watch(new WatchedJob(this.#clock, sessionId, jobId))
  }

  ended (sessionId: string, jobId: string): void {
    this.#jobs.delete(sessionId, jobId)
  }

  find (sessionId: string, jobId: string): WatchedJob | undefined {
    return this.#jobs.get(sessionId, jobId)
  }

  /** Watches no longer, and answers the jobs that have not ended. */
  stop (): WatchedJob[] {
    this.#stopped = true
    this.#timer?.cancel()
    const running = [...this.#jobs]
    this.#jobs.clear()
    return running
  }

  #watch (job: WatchedJob): void {
    this.#jobs.add(job)
    this.#arm(job.dueAt(this.#stallAfterMs))
  }

  /** One timer for all, set for the first that may be due: it is asked only then which one that is. */
  #arm (at: number): void {
    if (this.#timer !== undefined && this.#timerAt <= at) return
    this.#timer?.cancel()
    this.#timerAt = at
    this.#timer = this.#clock.after(at - this.#clock.monotonic(), () => {
      this.#timer = undefined
      this.#check()
    })
  }

  #check (): void {
    const now = this.#clock.monotonic()
    const due: WatchedJob[] = []
    let next = Infinity
    for (const job of this.#jobs) {
      const dueAt = job.dueAt(this.#stallAfterMs)
      if (dueAt <= now) due.push(job)
      else next = Math.min(next, dueAt)
    }
    for (const job of due) this.#jobs.delete(job.sessionId, job.jobId)
    for (const job of due) this.#report(job)
    if (!this.#jobs.isEmpty) this.#arm(next)
  }

  #report (job: WatchedJob): void {
    void tryThen(() => {
      const outcome = this.#onStall(job)
      return isPromise(outcome) ? withDeadline(this.#clock, REPORT_TIMEOUT_MS, outcome) : outcome
    }, (outcome) => { if (outcome === TIMED_OUT) this.#retry(job) }, () => { this.#retry(job) })
  }

  /** Unless something was heard of it meanwhile: then it is watched already. */
  #retry (job: WatchedJob): void {
    if (this.#stopped || this.find(job.sessionId, job.jobId) !== undefined) return
    job.failed()
    this.#watch(job)
  }
}
