import type { Clock, Timer } from '../util/clock.js'

interface Beat {
  readonly timer: Timer
  readonly callbacks: Set<() => void>
}

/** Common times are at most so far apart, in milliseconds. */
const MAX_STEP_MS = 10
/** And at most this share of what is waited for. */
const STEP_SHARE = 0.1
/** So much of a step is an error of calculation. */
const TOLERANCE = 1e-6

/**
 * Times that many jobs keep in common. What they have to tell then leaves in one turn of the event loop: one timer, and
 * one write for who follows several of them, where each for itself would wake the process.
 */
export class SharedTimers {
  readonly #clock: Clock
  readonly #timers = new Map<number, Beat>()

  constructor (clock: Clock) {
    this.#clock = clock
  }

  monotonic (): number {
    return this.#clock.monotonic()
  }

  /**
   * When that is due again which is done each `everyMs`, and now, having been due at `dueAt`. One that comes a little late
   * does not move those after it.
   */
  next (dueAt: number, everyMs: number): number {
    const step = Math.min(MAX_STEP_MS, everyMs * STEP_SHARE)
    const now = this.#clock.monotonic()
    const due = (now - dueAt < step ? dueAt : now) + everyMs
    return step > 0 ? Math.ceil(due / step - TOLERANCE) * step : due
  }

  /** Calls back at a time of the monotonic clock. It must not throw: others are called after it. */
  at (time: number, callback: () => void): Timer {
    const beat = this.#timers.get(time) ?? this.#add(time)
    beat.callbacks.add(callback)
    return {
      cancel: () => {
        beat.callbacks.delete(callback)
        if (beat.callbacks.size > 0 || this.#timers.get(time) !== beat) return
        this.#timers.delete(time)
        beat.timer.cancel()
      }
    }
  }

  #add (time: number): Beat {
    const callbacks = new Set<() => void>()
    const timer = this.#clock.after(time - this.#clock.monotonic(), () => {
      this.#timers.delete(time)
      for (const callback of callbacks) callback()
    })
    const beat = { timer, callbacks }
    this.#timers.set(time, beat)
    return beat
  }
}
