import type { Clock } from '../util/clock.js'

/** What a call waits for after the store has lost history. */
export type CallKind =
  /** This node must have published its jobs again. */
  | 'publish'
  /** All nodes must have published their jobs again, and this node must be synchronised. */
  | 'read'
  /** As for `publish`, and Redis must be reachable. */
  | 'send'

/** How long a call may wait, and what it takes meanwhile. */
export interface WaitLimit {
  readonly timeoutMs: number
  /** Length of the call's arguments, in UTF-16 units. */
  readonly units: number
  /** Returns why the call could not be executed in time. */
  readonly reason: () => string
}

interface Waiting {
  readonly kind: CallKind
  readonly start: () => void
  readonly fail: (error: Error) => void
}

/** Total length of the arguments of the calls that wait, in UTF-16 units. Further calls are rejected at once. */
const MAX_UNITS = 32 * 1024 * 1024
/** What each of them counts besides. */
const OVERHEAD_UNITS = 512

/**
 * Holds calls back while the state of this node or of the store is not complete. The calls that it holds start in their order, in
 * the same step in which it opens, so that no later call overtakes them. A call that has waited for too long is rejected, and never
 * starts.
 */
export class Gate {
  readonly #clock: Clock
  readonly #closed = new Set<CallKind>()
  readonly #waiting = new Set<Waiting>()
  #units = 0

  constructor (clock: Clock) {
    this.#clock = clock
  }

  close (kind: CallKind): void {
    this.#closed.add(kind)
  }

  /** Opens for some kinds. The calls of all of them start in the order in which they were made. */
  open (...kinds: readonly CallKind[]): void {
    for (const kind of kinds) this.#closed.delete(kind)
    for (const one of [...this.#waiting]) if (kinds.includes(one.kind)) one.start()
  }

  isClosed (kind: CallKind): boolean {
    return this.#closed.has(kind)
  }

  /** Resolves when the gate is open. Rejects if that takes too long, if too much waits already, and if `fail` is called. */
  pass<T> (kind: CallKind, { timeoutMs, units, reason }: WaitLimit, call: () => Promise<T>): Promise<T> {
    const size = units + OVERHEAD_UNITS
    if (this.#units + size > MAX_UNITS) return Promise.reject(new Error('Redis does not keep up: too much waits until this node is synchronised'))
    this.#units += size
    return new Promise((resolve, reject) => {
      const settle = (): void => {
        timer.cancel()
        this.#waiting.delete(one)
        this.#units -= size
      }
      const one: Waiting = {
        kind,
        start: () => {
          settle()
          call().then(resolve, reject)
        },
        fail: (error) => {
          settle()
          reject(error)
        }
      }
      const timer = this.#clock.after(timeoutMs, () => { one.fail(new Error(reason())) })
      this.#waiting.add(one)
    })
  }

  /** Rejects all calls that wait, or all but those of one kind. */
  fail (error: Error, except?: CallKind): void {
    for (const { kind, fail } of [...this.#waiting]) if (kind !== except) fail(error)
  }
}
