/** That a client has gone, for whoever wants to be told. Few do, and an `AbortController` is not cheap: it is made when it is asked for. */
export class Departure {
  #controller: AbortController | undefined
  #happened = false

  /** Fires when the client has gone; fired already, if it has. */
  get signal (): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController()
      if (this.#happened) this.#controller.abort()
    }
    return this.#controller.signal
  }

  happened (): void {
    this.#happened = true
    this.#controller?.abort()
  }
}
