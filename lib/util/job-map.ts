interface Keyed {
  readonly sessionId: string
  readonly jobId: string
}

/**
 * Items by session and job. Nearly every session has one job, which stands there as it is: then no key is put together, and
 * no map is made, for what is asked with every message. A session that had two keeps its map until both are gone.
 */
export class JobMap<T extends Keyed> {
  readonly #sessions = new Map<string, T | Map<string, T>>()

  get (sessionId: string, jobId: string): T | undefined {
    const found = this.#sessions.get(sessionId)
    if (found instanceof Map) return found.get(jobId)
    return isOf(found, jobId) ? found : undefined
  }

  /** It takes the place of another of the same job. */
  add (item: T): void {
    const { sessionId, jobId } = item
    const found = this.#sessions.get(sessionId)
    if (found instanceof Map) found.set(jobId, item)
    else if (found === undefined || isOf(found, jobId)) this.#sessions.set(sessionId, item)
    else this.#sessions.set(sessionId, new Map([[found.jobId, found], [jobId, item]]))
  }

  delete (sessionId: string, jobId: string): void {
    const found = this.#sessions.get(sessionId)
    if (found instanceof Map) {
      found.delete(jobId)
      if (found.size === 0) this.#sessions.delete(sessionId)
    } else if (isOf(found, jobId)) {
      this.#sessions.delete(sessionId)
    }
  }

  clear (): void {
    this.#sessions.clear()
  }

  get isEmpty (): boolean {
    return this.#sessions.size === 0
  }

  /** Some may be deleted on the way. */
  * [Symbol.iterator] (): Iterator<T> {
    for (const found of this.#sessions.values()) {
      if (found instanceof Map) yield * found.values()
      else yield found
    }
  }
}

/** As a map compares keys. An id may be anything until it is checked, and what was added must be found to be let go of. */
function isOf (item: Keyed | undefined, jobId: string): boolean {
  return Object.is(item?.jobId, jobId)
}
