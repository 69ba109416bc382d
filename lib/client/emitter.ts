import type { Incoming } from './messages.js'

/** Names of events. If an app's message type has such a name, the message is emitted only as `message`. */
const EVENT_NAMES = /^(?:message|open|close|error|gap|subscription|state)$/

/** Emits events and messages to listeners. A listener that throws stops neither the others nor the client. */
export class Emitter {
  readonly #listeners = new Map<string, Set<{ readonly call: (event: never) => unknown }>>()
  readonly #report: (error: unknown) => void

  constructor (report: (error: unknown) => void) {
    this.#report = report
  }

  /** Adds a listener. Returns a function that removes it. */
  on (type: string, listener: (event: never) => unknown): () => void {
    // A new entry for each call, because the same function may be added twice.
    const entry = { call: listener }
    const listeners = this.#listeners.get(type) ?? new Set()
    this.#listeners.set(type, listeners.add(entry))
    return () => { listeners.delete(entry) }
  }

  hasListeners (type: string): boolean {
    return (this.#listeners.get(type)?.size ?? 0) > 0
  }

  /** Emits a message under its own type and as `message`. */
  emitMessage (message: Incoming): void {
    if (!EVENT_NAMES.test(message.type)) this.emit(message.type, message)
    this.emit('message', message)
  }

  emit (type: string, event?: unknown): void {
    const listeners = this.#listeners.get(type)
    // Listeners that are added or removed during the loop are not called for this event.
    for (const listener of [...listeners ?? []]) {
      try {
        if (listeners?.has(listener)) listener.call(event as never)
      } catch (error) {
        this.#report(error)
      }
    }
  }
}
