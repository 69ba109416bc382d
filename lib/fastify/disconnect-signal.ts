import { bound } from '../util/async-context.js'

/** Abort signal that fires when the client disconnects. */
export class DisconnectSignal {
  readonly #controller = new AbortController()
  /** Aborts in the async context of the client's request, because the listeners belong to the app. */
  readonly #abort = bound(() => { this.#controller.abort() })

  get isDisconnected (): boolean {
    return this.signal.aborted
  }

  get signal (): AbortSignal {
    return this.#controller.signal
  }

  /** Records the disconnect and aborts the signal. */
  trigger (): void {
    this.#abort()
  }
}
