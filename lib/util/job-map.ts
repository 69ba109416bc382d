interface Keyed {
  readonly sessionId: string
  readonly jobId: string
}

/** A map with session id and job id as its key. Not one joined key, because callers may pass ids that are not strings. */
export class JobMap<T extends Keyed> {
  readonly #sessions = new Map<string, Map<string, T>>()

  get (sessionId: string, jobId: string): T | undefined {
    return this.#sessions.get(sessionId)?.get(jobId)
  }

  /** Adds an item. Replaces an item of the same job. */
  add (item: T): void {
    const { sessionId, jobId } = item
    const jobs = this.#sessions.get(sessionId)
    if (jobs === undefined) this.#sessions.set(sessionId, new Map([[jobId, item]]))
    else jobs.set(jobId, item)
  }

  delete (sessionId: string, jobId: string): void {
    const jobs = this.#sessions.get(sessionId)
    jobs?.delete(jobId)
    if (jobs?.size === 0) this.#sessions.delete(sessionId)
  }

  clear (): void {
    this.#sessions.clear()
  }

  get isEmpty (): boolean {
    return this.#sessions.size === 0
  }

  /** Iterates over all items. */
  * [Symbol.iterator] (): Iterator<T> {
    for (const jobs of this.#sessions.values()) yield * jobs.values()
  }
}
