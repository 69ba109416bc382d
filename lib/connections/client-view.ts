import { isoTimestamps, type Clock } from '../util/clock.js'
import type { Hub } from '../delivery/hub.js'
import type { Connection } from './connection.js'
import type { ConnectionRegistry } from './connection-registry.js'
import type { Identity } from './identity.js'
import { serializeAppMessage, type AppMessage } from './app-message.js'

/** A connected client, as the app's hooks are given it. */
export interface Client {
  readonly id: string
  readonly userId: string | undefined
  /** What `authenticate` returned, or `{ userId }` of the query. */
  readonly identity: Identity
  /** The sessions that it follows now, the latest last. */
  readonly sessionIds: readonly string[]
  /**
   * Sends it a message of the app's own, with the server's `timestamp`.
   *
   * @throws `AICW_ERR_INVALID_MESSAGE` without a `type` or with a reserved one, `AICW_ERR_NOT_SERIALIZABLE` for what JSON
   * can't hold. To a client that has gone it does nothing.
   */
  send (message: AppMessage): void
  /** Ends the connection with 4502, after which a client stays away. */
  disconnect (): void
}

/** Makes the app's view of a connection. */
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
