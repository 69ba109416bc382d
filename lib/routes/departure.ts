/**
 * That a client has gone, for whoever wants to be told. Few do, and an `AbortController` is not cheap: it is made when its
 * signal is asked for.
 */
export class Departure {
  #controller: AbortController | undefined
  #hasLeft = false

  /** Fires when the client has gone; has fired, if it is gone already. */
  get signal (): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController()
      if (this.#hasLeft) this.#controller.abort()
    }
    return this.#controller.signal
  }

  note (): void {
    this.#hasLeft = true
    this.#controller?.abort()
  }
}
