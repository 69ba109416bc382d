import type { Clock, Timer } from '../clock.js'
import { JobMap } from './job-map.js'

/** A job of which this process reported something, and no end. */
export class WatchedJob {
  readonly sessionId: string
  readonly jobId: string
  readonly #clock: Clock
  #heardAt = 0

  constructor (clock: Clock, sessionId: string, jobId: string) {
    this.#clock = clock
    this.sessionId = sessionId
    this.jobId = jobId
    this.heard()
  }

  /** Something was heard of it. Cheap enough for each chunk of a stream: no timer is set. */
  heard (): void {
    this.#heardAt = this.#clock.monotonic()
  }

  get heardAt (): number {
    return this.#heardAt
  }
}

/** Watches over the jobs that this process reports on: one of which nothing is heard for too long has stalled. */
export class Watchdog {
  readonly #clock: Clock
  readonly #stallAfterMs: number
  readonly #onStall: (job: WatchedJob) => void
  readonly #jobs = new JobMap<WatchedJob>()
  #timer: Timer | undefined

  constructor (options: { clock: Clock, stallAfterMs: number, onStall: (job: WatchedJob) => void }) {
    this.#clock = options.clock
    this.#stallAfterMs = options.stallAfterMs
    this.#onStall = options.onStall
  }

  /** Something was reported of a job: from now on it is watched. */
  heard (sessionId: string, jobId: string): void {
    const known = this.find(sessionId, jobId)
    if (known !== undefined) {
      known.heard()
      return
    }
    this.#jobs.add(new WatchedJob(this.#clock, sessionId, jobId))
    this.#timer ??= this.#arm(this.#stallAfterMs)
  }

  ended (sessionId: string, jobId: string): void {
    this.#jobs.delete(sessionId, jobId)
  }

  find (sessionId: string, jobId: string): WatchedJob | undefined {
    return this.#jobs.get(sessionId, jobId)
  }

  /** Watches no longer, and answers the jobs that have not ended. */
  stop (): WatchedJob[] {
    this.#timer?.cancel()
    const running = [...this.#jobs]
    this.#jobs.clear()
    return running
  }

  /** One timer for all, set for the longest silent: it is asked only then which one that is. */
  #arm (ms: number): Timer {
    return this.#clock.after(ms, () => {
      const now = this.#clock.monotonic()
      let longest = now
      for (const job of this.#jobs) {
        if (now - job.heardAt < this.#stallAfterMs) {
          longest = Math.min(longest, job.heardAt)
        } else {
          this.#jobs.delete(job.sessionId, job.jobId)
          this.#onStall(job)
        }
      }
      this.#timer = this.#jobs.isEmpty ? undefined : this.#arm(longest + this.#stallAfterMs - now)
    })
  }
}
