import type { Clock, Timer } from '../util/clock.js'
import { TIMED_OUT, withDeadline } from '../util/deadline.js'
import { isPromise, tryThen, type MaybePromise } from '../util/maybe-promise.js'
import { JobMap } from '../util/job-map.js'

/** Delay before a stall is reported again after a failure, in milliseconds. Doubles with each failure. */
const MIN_RETRY_MS = 1_000
const MAX_RETRY_MS = 60_000
/** Timeout of a report of a stall, in milliseconds. */
const REPORT_TIMEOUT_MS = 30_000

/** Running job that this process has reported on. */
export class WatchedJob {
  readonly sessionId: string
  readonly jobId: string
  readonly #clock: Clock
  #keptAliveAt = 0
  /** Failed attempts in a row to report its stall, and the time of the next attempt. */
  #failures = 0
  #retryAt = -Infinity
  /** Whether it was given up, and this process has not reported on it since. */
  isReleased = false
  /** Whether a worker without a node made its latest report, so that the end of this process does not end it. */
  isRemote = false
  /** Whether the watchdog still watches it. */
  isWatched = true

  constructor (clock: Clock, sessionId: string, jobId: string) {
    this.#clock = clock
    this.sessionId = sessionId
    this.jobId = jobId
    this.keepAlive()
  }

  /** Resets the stall timer. Sets no timer, so it is cheap enough to call for every chunk of a stream. */
  keepAlive (): void {
    this.#keptAliveAt = this.#clock.monotonic()
  }

  /** Gives the job up. It is still watched, in case no other process adopts it. */
  release (): void {
    this.keepAlive()
    this.isReleased = true
  }

  /** Returns the time at which the job counts as stalled, unless `keepAlive` is called before. */
  dueAt (stallAfterMs: number): number {
    return Math.max(this.#keptAliveAt + stallAfterMs, this.#retryAt)
  }

  /** Schedules the next attempt after a failed report of its stall. */
  failed (): void {
    this.#retryAt = this.#clock.monotonic() + Math.min(MIN_RETRY_MS * 2 ** this.#failures++, MAX_RETRY_MS)
  }
}

/**
 * Detects stalled jobs among those that this process reports on. The report of a stall is repeated until it succeeds. Otherwise
 * the job would never end for its subscribers.
 */
export class Watchdog {
  readonly #clock: Clock
  readonly #stallAfterMs: number
  readonly #onStall: (job: WatchedJob) => MaybePromise<unknown>
  readonly #jobs = new JobMap<WatchedJob>()
  #timer: Timer | undefined
  #timerAt = Infinity
  #stopped = false

  /** `onStall` reports a stall. It is called again later if it throws, rejects or times out. */
  constructor (options: { clock: Clock, stallAfterMs: number, onStall: (job: WatchedJob) => MaybePromise<unknown> }) {
    this.#clock = options.clock
    this.#stallAfterMs = options.stallAfterMs
    this.#onStall = options.onStall
  }

  /** Resets the stall timer of a job after a report. Starts to watch the job if it is new. */
  keepAlive (sessionId: string, jobId: string, isRemote = false): void {
    const known = this.find(sessionId, jobId)
    const job = known ?? new WatchedJob(this.#clock, sessionId, jobId)
    job.isRemote = isRemote
    if (known === undefined) {
      this.#watch(job)
    } else {
      known.keepAlive()
      known.isReleased = false
    }
  }

  ended (sessionId: string, jobId: string): void {
    const job = this.find(sessionId, jobId)
    if (job === undefined) return
    job.isWatched = false
    this.#jobs.delete(sessionId, jobId)
  }

  find (sessionId: string, jobId: string): WatchedJob | undefined {
    return this.#jobs.get(sessionId, jobId)
  }

  /** Returns the job of a session that was watched last. */
  newest (sessionId: string): WatchedJob | undefined {
    return this.#jobs.ofSession(sessionId).at(-1)
  }

  /** Stops watching. Returns the jobs that have not ended and were not released. */
  stop (): WatchedJob[] {
    this.#stopped = true
    this.#timer?.cancel()
    const running = [...this.#jobs].filter((job) => !job.isReleased)
    this.#jobs.clear()
    return running
  }

  #watch (job: WatchedJob): void {
    this.#jobs.add(job)
    this.#arm(job.dueAt(this.#stallAfterMs))
  }

  /** Sets the one timer of all jobs to the earliest time at which a job may be due. */
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

  /** Watches the job again after a failed report, unless a newer report already made it watched. */
  #retry (job: WatchedJob): void {
    if (this.#stopped || this.find(job.sessionId, job.jobId) !== undefined) return
    job.failed()
    this.#watch(job)
  }
}
