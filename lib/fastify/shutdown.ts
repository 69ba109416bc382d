import type { Clock } from '../util/clock.js'
import { TIMED_OUT, withDeadline } from '../util/deadline.js'
import type { Logger } from '../util/logger.js'

export interface ShutdownOptions {
  readonly clock: Clock
  readonly log: Logger
  /** How long all steps together may take, in milliseconds. */
  readonly timeoutMs: number
}

export interface ShutdownStep {
  /** For the log. */
  readonly name: string
  /** Gets the milliseconds that it may take. */
  readonly run: (ms: number) => unknown
  /** Which part of the time that is left it may take. @default 1 */
  readonly share?: number
  /** Whether it always ends by itself when its time is up: then it is awaited to the end. @default false */
  readonly keepsTime?: boolean
}

/**
 * Runs the steps of a shutdown in order, all within one deadline. A step that fails, or does not settle in time, is logged
 * and does not keep the following steps from running.
 */
export class Shutdown {
  readonly #options: ShutdownOptions
  readonly #steps: ShutdownStep[] = []

  constructor (options: ShutdownOptions) {
    this.#options = options
  }

  /** Adds steps behind those that were added before. */
  add (...steps: readonly ShutdownStep[]): void {
    this.#steps.push(...steps)
  }

  /** Rejects with the first step's error, once all have run. */
  async run (): Promise<void> {
    const { clock, log, timeoutMs } = this.#options
    const end = clock.monotonic() + timeoutMs
    const failures: unknown[] = []
    for (const { name, run, share = 1, keepsTime = false } of this.#steps) {
      const ms = Math.max(0, end - clock.monotonic()) * share
      try {
        const outcome = Promise.resolve(run(ms))
        if (await (keepsTime ? outcome : withDeadline(clock, ms, outcome)) === TIMED_OUT) {
          log.warn({ step: name, closeTimeoutMs: timeoutMs }, 'a step of the shutdown did not end in time: going on without it')
        }
      } catch (err) {
        log.error({ err, step: name }, 'a step of the shutdown failed: going on with the next')
        failures.push(err)
      }
    }
    if (failures.length > 0) throw failures[0]
  }
}
