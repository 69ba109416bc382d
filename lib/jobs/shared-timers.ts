import type { Clock, Timer } from '../util/clock.js'

interface SharedTimer {
  readonly timer: Timer
  readonly callbacks: Set<() => void>
}

/** Maximum step between shared times, in milliseconds. */
const MAX_STEP_MS = 10
/** Maximum step between shared times, as a fraction of the interval. */
const STEP_SHARE = 0.1
/** Floating-point tolerance, as a fraction of a step. */
const TOLERANCE = 1e-6

/**
 * Timers that many jobs share. Their progress reports then leave in one turn of the event loop. That takes one timer instead of
 * one per job, and one write to a client that is subscribed to several of them.
 */
export class SharedTimers {
  readonly #clock: Clock
  readonly #timers = new Map<number, SharedTimer>()

  constructor (clock: Clock) {
    this.#clock = clock
  }

  monotonic (): number {
    return this.#clock.monotonic()
  }

  /**
   * Returns the next due time of a task that runs now, was due at `dueAt`, and repeats every `everyMs`. A small delay of one
   * run does not shift the following ones.
   */
  next (dueAt: number, everyMs: number): number {
    const step = Math.min(MAX_STEP_MS, everyMs * STEP_SHARE)
    const now = this.#clock.monotonic()
    const due = (now - dueAt < step ? dueAt : now) + everyMs
    return step > 0 ? Math.ceil(due / step - TOLERANCE) * step : due
  }

  /** Calls back at a monotonic time. The callback must not throw, because others are called after it. */
  at (time: number, callback: () => void): Timer {
    const shared = this.#timers.get(time) ?? this.#add(time)
    shared.callbacks.add(callback)
    return {
      cancel: () => {
        shared.callbacks.delete(callback)
        if (shared.callbacks.size > 0 || this.#timers.get(time) !== shared) return
        this.#timers.delete(time)
        shared.timer.cancel()
      }
    }
  }

  #add (time: number): SharedTimer {
    const callbacks = new Set<() => void>()
    const timer = this.#clock.after(time - this.#clock.monotonic(), () => {
      this.#timers.delete(time)
      for (const callback of callbacks) callback()
    })
    const shared = { timer, callbacks }
    this.#timers.set(time, shared)
    return shared
  }
}
