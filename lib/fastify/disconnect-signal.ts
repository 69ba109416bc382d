import { bound } from '../util/async-context.js'

/**
 * That a client has gone, for whoever wants to be told. Few do, and an `AbortController` is not cheap: it is made when its
 * signal is asked for.
 */
export class DisconnectSignal {
  #controller: AbortController | undefined
  /** Its listeners are the app's, so it is called in the context in which the signal was asked for. */
  #abort: (() => void) | undefined
  #hasLeft = false

  get hasLeft (): boolean {
    return this.#hasLeft
  }

  /** Fires when the client has gone; has fired, if it is gone already. */
  get signal (): AbortSignal {
    if (this.#controller === undefined) {
      const controller = this.#controller = new AbortController()
      this.#abort = bound(() => { controller.abort() })
      if (this.#hasLeft) controller.abort()
    }
    return this.#controller.signal
  }

  note (): void {
    this.#hasLeft = true
    this.#abort?.()
  }
}
