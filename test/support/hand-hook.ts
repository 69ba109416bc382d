/** A call of an app's hook that the test has not answered. */
export interface HookCall<A extends unknown[], R> { args: A, answer: (value: R) => void, fail: (error: unknown) => void }

/** An app's hook that answers when the test says so. */
export function handHook<A extends unknown[], R> (): { hook: (...args: A) => Promise<R>, calls: Array<HookCall<A, R>> } {
  const calls: Array<HookCall<A, R>> = []
  return {
    calls,
    hook: (...args) => new Promise<R>((resolve, reject) => { calls.push({ args, answer: resolve, fail: reject }) })
  }
}
