import type { Clock } from '../util/clock.js'
import { TIMED_OUT, withDeadline } from '../util/deadline.js'
import type { Logger } from '../util/logger.js'

export interface ShutdownOptions {
  readonly clock: Clock
  readonly log: Logger
  /** Timeout of all steps together, in milliseconds. */
  readonly timeoutMs: number
}

export interface ShutdownStep {
  /** Name for the log. */
  readonly name: string
  /** Runs the step. `ms` is the time that it may take, in milliseconds. */
  readonly run: (ms: number) => unknown
  /** Fraction of the remaining time that it may take. @default 1 */
  readonly share?: number
  /** Whether the step keeps to `ms` itself. It is then awaited without a timeout. @default false */
  readonly hasOwnTimeout?: boolean
}

/**
 * Runs the steps of a shutdown in order, with one timeout for all. A step that fails or times out is logged, and the following
 * steps still run.
 */
export class Shutdown {
  readonly #options: ShutdownOptions
  readonly #steps: ShutdownStep[] = []

  constructor (options: ShutdownOptions) {
    this.#options = options
  }

  /** Appends steps. */
  add (...steps: readonly ShutdownStep[]): void {
    this.#steps.push(...steps)
  }

  /** Runs all steps. Afterwards rejects with the first error, if a step failed. */
  async run (): Promise<void> {
    const { clock, log, timeoutMs } = this.#options
    const end = clock.monotonic() + timeoutMs
    const failures: unknown[] = []
    for (const { name, run, share = 1, hasOwnTimeout = false } of this.#steps) {
      const ms = Math.max(0, end - clock.monotonic()) * share
      try {
        const outcome = Promise.resolve(run(ms))
        if (await (hasOwnTimeout ? outcome : withDeadline(clock, ms, outcome)) === TIMED_OUT) {
          log.warn({ step: name, closeTimeoutMs: timeoutMs }, 'a shutdown step timed out: continuing with the next one')
        }
      } catch (err) {
        log.error({ err, step: name }, 'a shutdown step failed: continuing with the next one')
        failures.push(err)
      }
    }
    if (failures.length > 0) throw failures[0]
  }
}
