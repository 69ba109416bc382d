import type { Clock, Timer } from '../util/clock.js'
import type { Hub } from '../delivery/hub.js'
import { closeCodes, closeName, type CloseName } from '../protocol/codes.js'
import type { Connection } from './connection.js'
import type { Counters } from './counters.js'
import { hasExpired } from './identity.js'
import type { Logger } from '../util/logger.js'

/** Part of the server that keeps state for each connection. */
export interface ConnectionWatcher {
  added (connection: Connection): void
  removed (connection: Connection): void
}

export interface ConnectionRegistryOptions {
  readonly hub: Hub
  readonly clock: Clock
  readonly counters: Counters
  readonly log: Logger
  /** How long a client has to answer a close frame, in milliseconds. */
  readonly closeTimeoutMs: number
}

/** Registry of admitted connections, and the only place that closes one. Subscribers are in the hub's channels. */
export class ConnectionRegistry {
  readonly #options: ConnectionRegistryOptions
  readonly #watchers: ConnectionWatcher[] = []
  readonly #open = new Map<string, Connection>()
  /** Connections in the closing handshake, with the timeout of each. */
  readonly #closing = new Map<Connection, Timer>()
  #onEmpty: (() => void) | undefined

  constructor (options: ConnectionRegistryOptions) {
    this.#options = options
  }

  /** Adds watchers. They are called for every later connection, in this order. */
  watch (...watchers: ConnectionWatcher[]): void {
    this.#watchers.push(...watchers)
  }

  /** Number of tracked connections, including those in the closing handshake. */
  get size (): number {
    return this.#open.size
  }

  values (): IterableIterator<Connection> {
    return this.#open.values()
  }

  add (connection: Connection): void {
    this.#open.set(connection.id, connection)
    for (const watcher of this.#watchers) watcher.added(connection)
    const { userId, id: clientId } = connection
    this.#options.log.info({ clientId, userId, total: this.size }, 'client connected')
  }

  /**
   * Whether a connection may still act: it is open, was not revoked, and its identity has not expired. Check it immediately
   * before acting, and again after each wait for the app or the broker. Closes an expired connection, because its timer may be
   * late after a busy event loop or a change of the wall clock.
   */
  mayAct (connection: Connection): boolean {
    if (connection.subscriber.outbox.closed) return false
    if (!hasExpired(connection.identity, this.#options.clock.now())) return true
    this.close(connection, 'tokenExpired')
    return false
  }

  /** Removes a connection whose socket has closed. */
  remove (connection: Connection, code: number): void {
    this.#closing.get(connection)?.cancel()
    this.#closing.delete(connection)
    this.#options.hub.drop(connection.subscriber)
    if (!this.#open.delete(connection.id)) return
    for (const watcher of this.#watchers) watcher.removed(connection)
    this.#options.log.info({ clientId: connection.id, code, total: this.size }, 'client disconnected')
    if (this.size === 0) this.#onEmpty?.()
  }

  /**
   * Starts the closing handshake. Messages delivered before are sent first, and later ones are not. The socket is terminated if
   * the client does not answer in time. Idempotent.
   */
  close (connection: Connection, name: CloseName, detail?: string): void {
    this.closeWith(connection, closeCodes[name].code, detail)
  }

  /** Like `close`, with any code that an app may send. Returns whether the connection was open. */
  closeWith (connection: Connection, code: number, detail?: string): boolean {
    if (this.#closing.has(connection) || !this.#open.has(connection.id)) return false
    const { hub, clock, counters, closeTimeoutMs, log } = this.#options
    const name = closeName(code)
    counters.close(name)
    log.debug({ clientId: connection.id, code, detail }, 'closing a connection')
    this.#closing.set(connection, clock.after(closeTimeoutMs, () => { this.#terminate(connection) }))
    // The client may no longer read the session, so pending replays stop too.
    if (name === 'revoked' || name === 'tokenExpired') hub.stopReplays(connection.subscriber)
    const reason = name === 'other' ? '' : closeCodes[name].reason
    hub.finish(connection.subscriber, () => { connection.subscriber.outbox.transport.close(code, reason) })
    return true
  }

  /** Closes all connections and resolves when all have closed. Terminates those that are still open after `ms`. */
  async closeAll (name: CloseName, ms = this.#options.closeTimeoutMs): Promise<void> {
    for (const connection of this.#open.values()) this.close(connection, name)
    if (this.size === 0) return
    const timer = this.#options.clock.after(ms, () => { for (const connection of this.#open.values()) this.#terminate(connection) })
    await new Promise<void>((resolve) => { this.#onEmpty = resolve })
    timer.cancel()
  }

  #terminate (connection: Connection): void {
    connection.subscriber.outbox.transport.terminate()
    this.remove(connection, closeCodes.abnormal.code)
  }
}
