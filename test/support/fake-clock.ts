import type { Clock, Timer } from '../../lib/util/clock.js'

interface Alarm { at: number, callback: () => void }

/**
 * A fake clock whose time passes only when a test calls `advance` or `sleep`. Wall-clock and monotonic time advance together,
 * but `jump` changes only the wall clock. `tick` ends the turn of the event loop and runs the callbacks of `endOfTick`.
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

  /** Number of timers that are set. */
  get pending (): number { return this.#alarms.size }

  /** Ends this turn of the event loop. */
  tick (): void {
    for (const callback of this.#endOfTick.splice(0)) callback()
  }

  /** Advances the time. Timers fire in order, each followed by the end of a turn. */
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

  /** Advances the time as if the process were suspended. Timers that become due in that time fire only after it. */
  sleep (ms: number): void {
    this.#go(this.#elapsed + ms)
    this.advance(0)
  }

  /** Moves the wall clock forwards or backwards. */
  jump (ms: number): void {
    this.#now += ms
  }

  #go (elapsed: number): void {
    this.#now += elapsed - this.#elapsed
    this.#elapsed = elapsed
  }
}
