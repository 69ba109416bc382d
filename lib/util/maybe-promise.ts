/** For what may answer at once: waiting where nothing is awaited would cost a turn and the order of the calls. */
export type MaybePromise<T> = T | PromiseLike<T>

/** Throws what reading the value does: a hook may return a revoked proxy, or an object with a getter that throws. */
export function isPromise<T> (value: MaybePromise<T>): value is PromiseLike<T> {
  return typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function'
}

/** Returns the value. @throws TypeError for a promise, of which nobody would hear whether it rejects. */
export function synchronous<T> (what: string, value: T): T {
  if (!seemsPromise(value)) return value
  Promise.resolve(value).catch(() => undefined)
  throw new TypeError(`${what} must not return a promise: it is used at once`)
}

/** What can't be read is none. */
function seemsPromise (value: unknown): boolean {
  try {
    return isPromise(value)
  } catch {
    return false
  }
}

/** Carries on with the value: at once when it is there. */
export function whenThere<T, U> (value: MaybePromise<T>, done: (value: T) => MaybePromise<U>): MaybePromise<U> {
  return isPromise(value) ? value.then(done) : done(value)
}

/** Starts something and carries on with its value: at once when it is there. A throw at once and a rejection both reach `failed`. */
export function proceed<T, U> (
  start: () => MaybePromise<T>, done: (value: T) => MaybePromise<U>, failed: (error: unknown) => MaybePromise<U>
): MaybePromise<U> {
  let value: T
  try {
    const started = start()
    // Not a thenable's own `then`: it may throw, or call back twice.
    if (isPromise(started)) return Promise.resolve(started).then(done, failed)
    value = started
  } catch (error) {
    return failed(error)
  }
  return done(value)
}

/** Starts all of them and answers their values in order: at once when every one is there. */
export function all<T> (starts: ReadonlyArray<() => MaybePromise<T>>): MaybePromise<readonly T[]> {
  const values: Array<MaybePromise<T>> = []
  try {
    for (const start of starts) values.push(start())
  } catch (error) {
    // Nobody will hear of those that began, and their rejections would end the process.
    for (const value of values) if (isPromise(value)) value.then(undefined, () => undefined)
    throw error
  }
  return values.some(isPromise) ? Promise.all(values) : values as readonly T[]
}
