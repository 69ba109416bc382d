import { Emitter } from './emitter.js'
import type { Environment, Timer } from './environment.js'

/** One frame of a display, in milliseconds, and a little more so that it is never two. */
const FRAME_MS = 17

/**
 * Listeners that are told at most once a frame, except where it matters. The first news is told at once, further ones at
 * the frame's end. A timer and not `requestAnimationFrame`, which stops in a hidden tab.
 */
export class FrameThrottle {
  readonly #clock: Environment['clock']
  readonly #emitter: Emitter
  #frame: Timer | undefined
  #due = false

  constructor ({ clock, report }: Pick<Environment, 'clock' | 'report'>) {
    this.#clock = clock
    this.#emitter = new Emitter(report)
  }

  get isHeard (): boolean {
    return this.#emitter.isHeard('')
  }

  /** Listens, until the function that it returns is called. */
  listen (listener: () => void): () => void {
    return this.#emitter.on('', listener)
  }

  /** Tells everyone: now if it is `urgent` or nothing was told in this frame, otherwise at the frame's end. */
  tell (urgent: boolean): void {
    this.#due = !urgent && this.#frame !== undefined
    if (this.#due || !this.isHeard) return
    this.#frame?.cancel()
    this.#frame = this.#clock.after(FRAME_MS, () => {
      this.#frame = undefined
      if (this.#due) this.tell(false)
    })
    this.#emitter.emit('')
  }
}
