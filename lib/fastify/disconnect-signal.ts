import { bound } from '../util/async-context.js'

/**
 * Abort signal that fires when the client disconnects. The `AbortController` is created lazily, because it is expensive and
 * most requests never use it.
 */
export class DisconnectSignal {
  #controller: AbortController | undefined
  /** Aborts in the async context in which the app first read `signal`, because the listeners belong to the app. */
  #abort: (() => void) | undefined
  #isDisconnected = false

  get isDisconnected (): boolean {
    return this.#isDisconnected
  }

  /** Aborts when the client disconnects. Already aborted if it has disconnected before. */
  get signal (): AbortSignal {
    if (this.#controller === undefined) {
      const controller = this.#controller = new AbortController()
      this.#abort = bound(() => { controller.abort() })
      if (this.#isDisconnected) controller.abort()
    }
    return this.#controller.signal
  }

  /** Records the disconnect and aborts the signal. */
  trigger (): void {
    this.#isDisconnected = true
    this.#abort?.()
  }
}
