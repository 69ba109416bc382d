import type { Clock, Timer } from '../util/clock.js'
import type { Hub } from '../delivery/hub.js'
import { closeCodes, type CloseName } from '../protocol/codes.js'
import type { Connection } from './connection.js'
import type { Counters } from './counters.js'
import { hasExpired } from './identity.js'
import type { Logger } from '../util/logger.js'

/** A part of the server that keeps something for each connection. */
export interface ConnectionWatcher {
  added (connection: Connection): void
  removed (connection: Connection): void
}

export interface ConnectionRegistryOptions {
  readonly hub: Hub
  readonly clock: Clock
  readonly counters: Counters
  readonly log: Logger
  /** How long a peer has to answer a close frame, in milliseconds. */
  readonly closeTimeoutMs: number
}

/** The registry of admitted connections, and the only way to end one. Who follows what is in the hub's channels. */
export class ConnectionRegistry {
  readonly #options: ConnectionRegistryOptions
  readonly #watchers: ConnectionWatcher[] = []
  readonly #open = new Map<string, Connection>()
  /** Connections with a closing handshake under way, and the deadline of each. */
  readonly #closing = new Map<Connection, Timer>()
  #onceEmpty: (() => void) | undefined

  constructor (options: ConnectionRegistryOptions) {
    this.#options = options
  }

  /** Calls these for every connection from now on, in this order. */
  watch (...watchers: ConnectionWatcher[]): void {
    this.#watchers.push(...watchers)
  }

  /** Every connection that is tracked: those whose closing handshake is under way too. */
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
   * Whether a connection may still act: it has not left, is not being closed, was not revoked, and its identity has not
   * expired. Ask at the moment of acting, after every wait for the app or the broker. One that has expired is closed here,
   * because its timer may be late: the process may have been busy, or the wall clock set.
   */
  mayAct (connection: Connection): boolean {
    if (connection.subscriber.outbox.closed) return false
    if (!hasExpired(connection.identity, this.#options.clock.now())) return true
    this.close(connection, 'tokenExpired')
    return false
  }

  /** The socket has closed. */
  remove (connection: Connection, code: number): void {
    this.#closing.get(connection)?.cancel()
    this.#closing.delete(connection)
    this.#options.hub.drop(connection.subscriber)
    if (!this.#open.delete(connection.id)) return
    for (const watcher of this.#watchers) watcher.removed(connection)
    this.#options.log.info({ clientId: connection.id, code, total: this.size }, 'client disconnected')
    if (this.size === 0) this.#onceEmpty?.()
  }

  /**
   * Begins to close: what was delivered so far goes out first, nothing after it. A peer that does not answer in time is
   * cut off. Closing twice is closing once.
   */
  close (connection: Connection, name: CloseName, detail?: string): void {
    if (this.#closing.has(connection) || !this.#open.has(connection.id)) return
    const { hub, clock, counters, closeTimeoutMs, log } = this.#options
    const { code, reason } = closeCodes[name]
    counters.close(name)
    log.debug({ clientId: connection.id, code, detail }, 'closing a connection')
    this.#closing.set(connection, clock.after(closeTimeoutMs, () => { this.#cutOff(connection) }))
    // Its right to read has ended: what was still to come of the past is not sent.
    if (name === 'revoked' || name === 'tokenExpired') hub.stopReplays(connection.subscriber)
    hub.finish(connection.subscriber, () => { connection.subscriber.outbox.transport.close(code, reason) })
  }

  /** Closes all, and resolves when every one is gone. Those that have not closed after `ms` are cut off. */
  async closeAll (name: CloseName, ms = this.#options.closeTimeoutMs): Promise<void> {
    for (const connection of this.#open.values()) this.close(connection, name)
    if (this.size === 0) return
    const timer = this.#options.clock.after(ms, () => { for (const connection of this.#open.values()) this.#cutOff(connection) })
    await new Promise<void>((resolve) => { this.#onceEmpty = resolve })
    timer.cancel()
  }

  #cutOff (connection: Connection): void {
    connection.subscriber.outbox.transport.terminate()
    this.remove(connection, closeCodes.abnormal.code)
  }
}
