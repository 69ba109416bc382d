import type { Clock, Timer } from '../util/clock.js'
import type { Evicted } from './broker.js'

/** The part of a logger that `Evictions` uses. */
export interface EvictionLog {
  warn (fields: object, message: string): void
}

/** Minimum time between two log lines, in milliseconds. Each line holds the counts since the previous one. */
const LOG_INTERVAL_MS = 10_000

export const noEvictions: Evicted = { messages: 0, starts: 0, texts: 0, ends: 0, shortened: 0, streams: 0 }

/** Counts and logs what is evicted. */
export class Evictions {
  readonly #clock: Clock
  readonly #log: EvictionLog
  readonly #total: Evicted = { ...noEvictions }
  #sinceLog: Evicted | undefined
  #timer: Timer | undefined

  constructor (options: { clock: Clock, log: EvictionLog }) {
    this.#clock = options.clock
    this.#log = options.log
  }

  /** Returns a copy of the counts since the start. */
  get total (): Evicted {
    return { ...this.#total }
  }

  add (kind: keyof Evicted, count = 1): void {
    if (count === 0) return
    this.#total[kind] += count
    this.#sinceLog ??= { ...noEvictions }
    this.#sinceLog[kind] += count
  }

  /** Logs the counts since the last line, at once or when the next line is due. */
  report (): void {
    if (this.#sinceLog === undefined || this.#timer !== undefined) return
    this.#timer = this.#clock.after(LOG_INTERVAL_MS, () => {
      this.#timer = undefined
      this.report()
    })
    this.#flush(this.#sinceLog)
  }

  close (): void {
    this.#timer?.cancel()
    this.#timer = undefined
    if (this.#sinceLog !== undefined) this.#flush(this.#sinceLog)
  }

  #flush (evicted: Evicted): void {
    this.#sinceLog = undefined
    this.#log.warn({ evicted }, 'history is full: data for late clients was evicted')
  }
}
