import type { Incoming } from './messages.js'

/** Types of messages that are listened to as `message` only: an app's own type may have the name of an event. */
const EVENT_NAMES = /^(?:message|open|close|error|gap|subscription|state)$/

/** Listeners by the type of what they listen to. One that throws stops neither the others nor the client. */
export class Emitter {
  readonly #listeners = new Map<string, Set<{ readonly call: (event: never) => unknown }>>()
  readonly #report: (error: unknown) => void

  constructor (report: (error: unknown) => void) {
    this.#report = report
  }

  /** Listens, until the function that it returns is called. */
  on (type: string, listener: (event: never) => unknown): () => void {
    // An entry of its own, because the same function may listen twice.
    const entry = { call: listener }
    const listeners = this.#listeners.get(type) ?? new Set()
    this.#listeners.set(type, listeners.add(entry))
    return () => { listeners.delete(entry) }
  }

  isHeard (type: string): boolean {
    return (this.#listeners.get(type)?.size ?? 0) > 0
  }

  /** Emits a message, by its own type and as `message`. */
  tell (message: Incoming): void {
    if (!EVENT_NAMES.test(message.type)) this.emit(message.type, message)
    this.emit('message', message)
  }

  emit (type: string, event?: unknown): void {
    const listeners = this.#listeners.get(type)
    // Those that listen now. One that is added meanwhile is not called for this event, one that is removed neither.
    for (const listener of [...listeners ?? []]) {
      try {
        if (listeners?.has(listener)) listener.call(event as never)
      } catch (error) {
        this.#report(error)
      }
    }
  }
}
