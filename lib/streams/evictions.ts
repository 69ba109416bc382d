import type { Clock, Timer } from '../util/clock.js'
import type { Evicted } from './broker.js'

/** The part of a logger that is used here. */
export interface EvictionLog {
  warn (fields: object, message: string): void
}

/** A log line comes at most once in so many milliseconds, with the counts since the one before. */
const LOG_INTERVAL_MS = 10_000

export const noEvictions: Evicted = { messages: 0, starts: 0, texts: 0, ends: 0, stubs: 0, streams: 0 }

/** Counts what is let go of for want of room, and logs it. */
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

  /** A copy of the counts since the start. */
  get total (): Evicted {
    return { ...this.#total }
  }

  add (kind: keyof Evicted, count = 1): void {
    if (count === 0) return
    this.#total[kind] += count
    this.#sinceLog ??= { ...noEvictions }
    this.#sinceLog[kind] += count
  }

  /** Logs what was counted since the last line, now or when the next line is due. */
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
    this.#log.warn({ evicted }, 'history has no room: some of what late clients would be sent is gone')
  }
}
