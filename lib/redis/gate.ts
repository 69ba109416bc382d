/** What a call waits for after the store has lost history. */
export type CallKind =
  /** This node must have published its jobs again. */
  | 'publish'
  /** All nodes must have published their jobs again, and this node must be synchronised. */
  | 'read'

interface Waiting {
  readonly kind: CallKind
  readonly start: () => void
  readonly fail: (error: Error) => void
}

/**
 * Holds calls back while the state of this node or of the store is not complete. The calls that it holds start in their order, in
 * the same step in which it opens, so that no later call overtakes them.
 */
export class Gate {
  readonly #closed = new Set<CallKind>()
  #waiting: Waiting[] = []

  close (kind: CallKind): void {
    this.#closed.add(kind)
  }

  open (kind: CallKind): void {
    if (!this.#closed.delete(kind)) return
    const waiting = this.#waiting
    this.#waiting = waiting.filter((one) => one.kind !== kind)
    for (const one of waiting) if (one.kind === kind) one.start()
  }

  isClosed (kind: CallKind): boolean {
    return this.#closed.has(kind)
  }

  /** Starts a call when the gate is open. */
  pass<T> (kind: CallKind, call: () => Promise<T>): Promise<T> {
    if (!this.#closed.has(kind)) return call()
    return new Promise((resolve, reject) => {
      this.#waiting.push({ kind, start: () => { call().then(resolve, reject) }, fail: reject })
    })
  }

  /** Rejects all calls that wait. */
  fail (error: Error): void {
    const waiting = this.#waiting
    this.#waiting = []
    for (const { fail } of waiting) fail(error)
  }
}
