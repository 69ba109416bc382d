interface Shared<T> {
  readonly result: Promise<T>
  isSent: boolean
  /** The call that is made when this one has returned. */
  next: Promise<T> | undefined
}

/**
 * Lets equal calls share a result. A call is made at the end of the tick, and while it is under way no equal one is made: those that ask
 * in the meantime share the next one, because the result of the first may be older than their question.
 */
export class SharedCalls<T> {
  readonly #byKey = new Map<string, Shared<T>>()

  /** @param call Makes the call. Only the first of those that share the result is used. */
  get (key: string, call: () => Promise<T>): Promise<T> {
    const known = this.#byKey.get(key)
    if (known === undefined) return this.#begin(key, call)
    if (!known.isSent) return known.result
    return known.next ??= known.result.then(() => undefined, () => undefined).then(() => this.#begin(key, call))
  }

  #begin (key: string, call: () => Promise<T>): Promise<T> {
    const shared: Shared<T> = {
      isSent: false,
      next: undefined,
      result: new Promise((resolve, reject) => {
        process.nextTick(() => {
          shared.isSent = true
          call().then(resolve, reject)
        })
      })
    }
    this.#byKey.set(key, shared)
    const settled = (): void => { if (shared.next === undefined) this.#byKey.delete(key) }
    shared.result.then(settled, settled)
    return shared.result
  }
}
