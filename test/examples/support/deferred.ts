export interface Deferred<T> {
  promise: Promise<T>
  resolve: (value: T) => void
}

/** `Promise.withResolvers`, which Node 20 does not have. */
export function deferred<T = void> (): Deferred<T> {
  let resolve: (value: T) => void = () => undefined
  const promise = new Promise<T>((given) => { resolve = given })
  return { promise, resolve }
}
