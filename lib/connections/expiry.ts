import type { Clock, Timer } from '../util/clock.js'
import type { Connection } from './connection.js'
import type { ConnectionRegistry, ConnectionWatcher } from './connection-registry.js'

/** Closes connections when their identities expire. */
export class Expiry implements ConnectionWatcher {
  readonly #clock: Clock
  readonly #connections: ConnectionRegistry
  readonly #timers = new Map<Connection, Timer>()

  constructor (options: { clock: Clock, connections: ConnectionRegistry }) {
    this.#clock = options.clock
    this.#connections = options.connections
  }

  added (connection: Connection): void {
    const { expiresAt } = connection.identity
    if (expiresAt !== undefined) this.#arm(connection, Number(expiresAt))
  }

  removed (connection: Connection): void {
    this.#timers.get(connection)?.cancel()
    this.#timers.delete(connection)
  }

  /** Checks the wall clock when the timer fires, and waits again if it was set back. An expiry is a date, not a duration. */
  #arm (connection: Connection, expiresAt: number): void {
    this.#timers.set(connection, this.#clock.after(Math.max(0, expiresAt - this.#clock.now()), () => {
      if (this.#clock.now() < expiresAt) this.#arm(connection, expiresAt)
      else this.#connections.close(connection, 'tokenExpired')
    }))
  }
}
