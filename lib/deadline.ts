import type { Clock } from './clock.js'

/** What `withDeadline` answers when the work took too long. */
export const TIMED_OUT = Symbol('timed out')

/** Waits for the work at most `ms`. Work that ends later ends unheard, its rejection too. */
export function withDeadline<T> (clock: Clock, ms: number, work: PromiseLike<T>): Promise<T | typeof TIMED_OUT> {
  return new Promise((resolve, reject) => {
    const timer = clock.after(ms, () => { resolve(TIMED_OUT) })
    Promise.resolve(work).finally(() => { timer.cancel() }).then(resolve, reject)
  })
}
