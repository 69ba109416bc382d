import type { Clock, Timer } from '../../lib/util/clock.js'

interface Alarm { at: number, callback: () => void }

/**
 * A clock that stands still until it is told to go on. Wall-clock and monotonic time go together, except when `jump`
 * sets the wall clock alone. `tick` ends the turn of the event loop: what was put off to its end runs.
 */
export class FakeClock implements Clock {
  #now = 1_700_000_000_000
  #elapsed = 0
  #alarms = new Set<Alarm>()
  #endOfTick: Array<() => void> = []

  now (): number { return this.#now }
  monotonic (): number { return this.#elapsed }

  after (ms: number, callback: () => void): Timer {
    const alarm = { at: this.#elapsed + ms, callback }
    this.#alarms.add(alarm)
    return { cancel: () => { this.#alarms.delete(alarm) } }
  }

  endOfTick (callback: () => void): void {
    this.#endOfTick.push(callback)
  }

  /** Timers that are set. */
  get pending (): number { return this.#alarms.size }

  /** Ends this turn of the event loop. */
  tick (): void {
    for (const callback of this.#endOfTick.splice(0)) callback()
  }

  /** Lets time pass; timers fire in order, each followed by the end of a turn. */
  advance (ms: number): void {
    const end = this.#elapsed + ms
    for (;;) {
      const due = [...this.#alarms].filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0]
      if (due === undefined) break
      this.#go(Math.max(due.at, this.#elapsed))
      this.#alarms.delete(due)
      due.callback()
      this.tick()
    }
    this.#go(end)
    this.tick()
  }

  /** Time passes in which this process does nothing at all: timers that fell due meanwhile fire only after it. */
  sleep (ms: number): void {
    this.#go(this.#elapsed + ms)
    this.advance(0)
  }

  /** Sets the wall clock, forwards or back. */
  jump (ms: number): void {
    this.#now += ms
  }

  #go (elapsed: number): void {
    this.#now += elapsed - this.#elapsed
    this.#elapsed = elapsed
  }
}
