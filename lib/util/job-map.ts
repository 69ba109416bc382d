interface Keyed {
  readonly sessionId: string
  readonly jobId: string
}

/**
 * A map with session id and job id as its key. It is read for every message, so the common case of one job per session needs
 * neither a combined key nor a nested map. A session with more jobs gets a nested map, and keeps it until all are deleted. With
 * 10,000 sessions, nested maps cost 5 to 9 % of a message's CPU (benchmark row `sessions`).
 */
export class JobMap<T extends Keyed> {
  readonly #sessions = new Map<string, T | Map<string, T>>()

  get (sessionId: string, jobId: string): T | undefined {
    const found = this.#sessions.get(sessionId)
    if (found instanceof Map) return found.get(jobId)
    return isJob(found, jobId) ? found : undefined
  }

  /** Returns the items of a session, the one that was added last at the end. */
  ofSession (sessionId: string): readonly T[] {
    const found = this.#sessions.get(sessionId)
    if (found === undefined) return []
    return found instanceof Map ? [...found.values()] : [found]
  }

  /** Adds an item. Replaces an item of the same job. */
  add (item: T): void {
    const { sessionId, jobId } = item
    const found = this.#sessions.get(sessionId)
    if (found instanceof Map) found.set(jobId, item)
    else if (found === undefined || isJob(found, jobId)) this.#sessions.set(sessionId, item)
    else this.#sessions.set(sessionId, new Map([[found.jobId, found], [jobId, item]]))
  }

  delete (sessionId: string, jobId: string): void {
    const found = this.#sessions.get(sessionId)
    if (found instanceof Map) {
      found.delete(jobId)
      if (found.size === 0) this.#sessions.delete(sessionId)
    } else if (isJob(found, jobId)) {
      this.#sessions.delete(sessionId)
    }
  }

  clear (): void {
    this.#sessions.clear()
  }

  get isEmpty (): boolean {
    return this.#sessions.size === 0
  }

  /** Iterates over all items. Items may be deleted during the iteration. */
  * [Symbol.iterator] (): Iterator<T> {
    for (const found of this.#sessions.values()) {
      if (found instanceof Map) yield * found.values()
      else yield found
    }
  }
}

/** Compares like the keys of a `Map`: an id that was not validated may even be `NaN`, and its item must be found again. */
function isJob (item: Keyed | undefined, jobId: string): boolean {
  return Object.is(item?.jobId, jobId)
}
