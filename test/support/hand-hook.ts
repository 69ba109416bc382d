/** A call of an app's hook that the test has not answered yet. */
export interface HookCall<A extends unknown[], R> { args: A, answer: (value: R) => void, fail: (error: unknown) => void }

/** Returns a fake hook of an app, and its calls. They stay pending until the test answers them. */
export function handHook<A extends unknown[], R> (): { hook: (...args: A) => Promise<R>, calls: Array<HookCall<A, R>> } {
  const calls: Array<HookCall<A, R>> = []
  return {
    calls,
    hook: (...args) => new Promise<R>((resolve, reject) => { calls.push({ args, answer: resolve, fail: reject }) })
  }
}
