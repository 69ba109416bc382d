/** Default of `deadlineMs`: a busy machine takes many times as long as usual. */
export const DEADLINE_MS = 10_000

/**
 * Waits for work. Rejects if it takes longer than `ms`, with the message that `describe` returns then. The timer keeps the process
 * alive: otherwise a broker that never settles would end it.
 */
export function inTime<T> (ms: number, work: PromiseLike<T>, describe: () => string): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => { reject(new Error(`${describe()}, after ${ms} ms`)) }, ms)
    const done = (): void => { clearTimeout(timer) }
    Promise.resolve(work).finally(done).then(resolve, reject)
  })
}

/** Lets everything run that is ready, including I/O. */
export function turn (): Promise<void> {
  return new Promise((resolve) => { setImmediate(resolve) })
}
