import type { Clock } from './clock.js'

/** The result of `withDeadline` if the work took too long. */
export const TIMED_OUT = Symbol('timed out')

/**
 * Waits for work for at most `ms`, then resolves to `TIMED_OUT`. A later result or rejection of the work is ignored. Aborting
 * `gone` cancels the timer, because the client that waits for the result has disconnected.
 */
export function withDeadline<T> (
  clock: Clock, ms: number, work: PromiseLike<T>, gone?: AbortSignal
): Promise<T | typeof TIMED_OUT> {
  return new Promise((resolve, reject) => {
    const timer = clock.after(ms, () => { resolve(TIMED_OUT) })
    const cancel = (): void => { timer.cancel() }
    gone?.addEventListener('abort', cancel)
    Promise.resolve(work).finally(() => {
      cancel()
      gone?.removeEventListener('abort', cancel)
    }).then(resolve, reject)
  })
}
