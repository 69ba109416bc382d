import { Emitter } from './emitter.js'
import type { Environment, Timer } from './environment.js'

/** One display frame in milliseconds, rounded up so that there are never two calls in one frame. */
const FRAME_MS = 17

/**
 * Calls listeners at most once per frame, except for urgent changes. Reports the first change immediately and later ones at the
 * end of the frame. Uses a timer, because `requestAnimationFrame` stops in a hidden tab.
 */
export class FrameThrottle {
  readonly #clock: Environment['clock']
  readonly #emitter: Emitter
  #frame: Timer | undefined
  #isDue = false

  constructor ({ clock, report }: Pick<Environment, 'clock' | 'report'>) {
    this.#clock = clock
    this.#emitter = new Emitter(report)
  }

  get hasListeners (): boolean {
    return this.#emitter.hasListeners('')
  }

  /** Adds a listener. Returns a function that removes it. */
  listen (listener: () => void): () => void {
    return this.#emitter.on('', listener)
  }

  /** Calls all listeners: now if the change is `urgent` or the first in this frame, otherwise at the end of the frame. */
  notify (urgent: boolean): void {
    this.#isDue = !urgent && this.#frame !== undefined
    if (this.#isDue || !this.hasListeners) return
    this.#frame?.cancel()
    this.#frame = this.#clock.after(FRAME_MS, () => {
      this.#frame = undefined
      if (this.#isDue) this.notify(false)
    })
    this.#emitter.emit('')
  }
}
