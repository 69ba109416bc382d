import { isoTimestamps, type Clock } from '../util/clock.js'
import type { Hub } from '../delivery/hub.js'
import type { Connection } from './connection.js'
import type { ConnectionRegistry } from './connection-registry.js'
import type { Identity } from './identity.js'
import { serializeAppMessage, type AppMessage } from './app-message.js'

/** A connected client, as the app's hooks see it. */
export interface Client {
  readonly id: string
  readonly userId: string | undefined
  /** The return value of `authenticate`. Without that hook, `{ userId }` from the query. */
  readonly identity: Identity
  /** Sessions that the client is subscribed to now, the latest last. */
  readonly sessionIds: readonly string[]
  /**
   * Sends your own message to the client. The server adds a `timestamp`. Does nothing if the client has disconnected.
   *
   * @throws `AICW_ERR_INVALID_MESSAGE` for a missing or reserved `type`, `AICW_ERR_NOT_SERIALIZABLE` for values that JSON can't
   * represent.
   */
  send (message: AppMessage): void
  /** Closes the connection with 4502. Clients don't reconnect after this code. */
  disconnect (): void
}

/** Returns a function that creates the app's view of a connection. */
export function clientView (options: { hub: Hub, connections: ConnectionRegistry, clock: Clock }): (connection: Connection) => Client {
  const { hub, connections } = options
  const timestamp = isoTimestamps(options.clock)
  return (connection) => ({
    id: connection.id,
    userId: connection.userId,
    identity: connection.identity,
    get sessionIds () { return connection.sessionIds },
    send: (message) => {
      const text = serializeAppMessage(message, timestamp())
      if (connections.mayAct(connection)) hub.send(connection.subscriber, text)
    },
    disconnect: () => { connections.close(connection, 'revoked') }
  })
}
