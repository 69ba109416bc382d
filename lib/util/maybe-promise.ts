/** A value or a promise of it. Awaiting a plain value would cost a turn of the event loop and could reorder calls. */
export type MaybePromise<T> = T | PromiseLike<T>

/** Returns whether a value is a promise. Throws if reading `then` throws, for example on a revoked proxy. */
export function isPromise<T> (value: MaybePromise<T>): value is PromiseLike<T> {
  return typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function'
}

/** Returns the value. @throws TypeError if it is a promise, because nothing would handle its rejection. */
export function requireSync<T> (what: string, value: T): T {
  if (!looksLikePromise(value)) return value
  Promise.resolve(value).catch(() => undefined)
  throw new TypeError(`${what} must not return a promise: it is used at once`)
}

/** Like `isPromise`, but returns `false` if reading the value throws. */
function looksLikePromise (value: unknown): boolean {
  try {
    return isPromise(value)
  } catch {
    return false
  }
}

/** Calls `done` with the value: synchronously if it is not a promise. */
export function andThen<T, U> (value: MaybePromise<T>, done: (value: T) => MaybePromise<U>): MaybePromise<U> {
  return isPromise(value) ? value.then(done) : done(value)
}

/** Calls `start`, then `done` with its value: synchronously if possible. A throw and a rejection of `start` reach `failed`. */
export function tryThen<T, U> (
  start: () => MaybePromise<T>, done: (value: T) => MaybePromise<U>, failed: (error: unknown) => MaybePromise<U>
): MaybePromise<U> {
  let value: T
  try {
    const started = start()
    // Wrapped, because a thenable's own `then` may throw or call back twice.
    if (isPromise(started)) return Promise.resolve(started).then(done, failed)
    value = started
  } catch (error) {
    return failed(error)
  }
  return done(value)
}

/** Calls all functions and returns their values in order: synchronously if none is a promise. */
export function all<T> (starts: ReadonlyArray<() => MaybePromise<T>>): MaybePromise<readonly T[]> {
  const values: Array<MaybePromise<T>> = []
  try {
    for (const start of starts) values.push(start())
  } catch (error) {
    // Nothing waits for the ones already started, and an unhandled rejection would end the process.
    for (const value of values) if (isPromise(value)) value.then(undefined, () => undefined)
    throw error
  }
  return values.some(isPromise) ? Promise.all(values) : values as readonly T[]
}
