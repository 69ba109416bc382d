import type { Environment, Timer } from './environment.js'

/** One frame of a display, in milliseconds, and a little more so that it is never two. */
const FRAME_MS = 17

/**
 * Listeners that are told at most once a frame, except where it matters. The first news is told at once, further ones at
 * the frame's end. A timer and not `requestAnimationFrame`, which stops in a hidden tab.
 */
export class Pace {
  readonly #environment: Environment
  readonly #listeners = new Set<() => void>()
  #frame: Timer | undefined
  #due = false

  constructor (environment: Environment) {
    this.#environment = environment
  }

  get size (): number {
    return this.#listeners.size
  }

  /** Listens, until the function that it returns is called. */
  listen (listener: () => void): () => void {
    // The same function may listen twice.
    const own = (): void => { listener() }
    this.#listeners.add(own)
    return () => { this.#listeners.delete(own) }
  }

  /** Tells everyone: now if it is `urgent` or nothing was told in this frame, otherwise at the frame's end. */
  tell (urgent: boolean): void {
    if (this.#frame !== undefined && !urgent) {
      this.#due = true
      return
    }
    this.#frame?.cancel()
    this.#frame = undefined
    this.#due = false
    if (this.#listeners.size === 0) return
    this.#frame = this.#environment.clock.after(FRAME_MS, () => {
      this.#frame = undefined
      if (this.#due) this.tell(false)
    })
    for (const listener of this.#listeners) {
      try {
        listener()
      } catch (error) {
        this.#environment.report(error)
      }
    }
  }
}
