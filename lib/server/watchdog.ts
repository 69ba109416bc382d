import type { Clock, Timer } from '../clock.js'

/** A job of which this process reported something, and no end. */
export interface WatchedJob {
  readonly sessionId: string
  readonly jobId: string
}

interface Watched extends WatchedJob {
  heardAt: number
}

/** Watches over the jobs that this process reports on: one of which nothing is heard for too long has stalled. */
export class Watchdog {
  readonly #clock: Clock
  readonly #stallAfterMs: number
  readonly #onStall: (job: WatchedJob) => void
  /** In the order in which they were heard of, the longest silent first. */
  readonly #jobs = new Map<string, Watched>()
  #timer: Timer | undefined

  constructor (options: { clock: Clock, stallAfterMs: number, onStall: (job: WatchedJob) => void }) {
    this.#clock = options.clock
    this.#stallAfterMs = options.stallAfterMs
    this.#onStall = options.onStall
  }

  heard (sessionId: string, jobId: string): void {
    const key = keyOf(sessionId, jobId)
    this.#jobs.delete(key)
    this.#jobs.set(key, { sessionId, jobId, heardAt: this.#clock.monotonic() })
    this.#timer ??= this.#arm(this.#stallAfterMs)
  }

  ended (sessionId: string, jobId: string): void {
    this.#jobs.delete(keyOf(sessionId, jobId))
  }

  /** Watches no longer, and answers the jobs that have not ended. */
  stop (): WatchedJob[] {
    this.#timer?.cancel()
    const running = [...this.#jobs.values()]
    this.#jobs.clear()
    return running
  }

  #arm (ms: number): Timer {
    return this.#clock.after(ms, () => {
      const now = this.#clock.monotonic()
      for (const [key, job] of this.#jobs) {
        const left = job.heardAt + this.#stallAfterMs - now
        if (left > 0) {
          this.#timer = this.#arm(left)
          return
        }
        this.#jobs.delete(key)
        this.#onStall(job)
      }
      this.#timer = undefined
    })
  }
}

function keyOf (sessionId: string, jobId: string): string {
  return JSON.stringify([sessionId, jobId])
}
