import type { Clock } from './clock.js'

/** What `withDeadline` answers when the work took too long. */
export const TIMED_OUT = Symbol('timed out')

/**
 * Waits for the work at most `ms`. Work that ends later ends unheard, its rejection too. Once `gone` is aborted the time
 * does not run out any more, since nobody waits for the answer.
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
