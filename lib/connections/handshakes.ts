import type { Clock, Timer } from '../util/clock.js'
import { Subscriber } from '../delivery/channel.js'
import type { Hub, JoinRequest } from '../delivery/hub.js'
import { Outbox } from '../delivery/outbox.js'
import type { OutboxPool } from '../delivery/outbox-pool.js'
import type { Transport } from '../delivery/transport.js'
import { tryThen, type MaybePromise } from '../util/maybe-promise.js'
import { closeCodes, type CloseName } from '../protocol/codes.js'
import type { Since } from '../protocol/positions.js'
import type { Budgets } from './budgets.js'
import { clientId, Connection, type SubscribeRequest } from './connection.js'
import type { ConnectionRegistry } from './connection-registry.js'
import type { Counters } from './counters.js'
import type { Subscriptions, Permission } from './subscriptions.js'
import { hasExpired, type Identity } from './identity.js'
import type { Logger } from '../util/logger.js'
import { RateLimit, type RateLimitSettings } from './rate-limit.js'
import type { Replies } from './replies.js'

export interface HandshakesOptions {
  readonly hub: Hub
  readonly pool: OutboxPool
  readonly clock: Clock
  readonly connections: ConnectionRegistry
  readonly subscriptions: Subscriptions
  readonly replayBudgets: Budgets
  readonly replies: Replies
  readonly counters: Counters
  readonly log: Logger
  readonly rateLimit: RateLimitSettings
  /** How long a client has to answer a close frame, in milliseconds. */
  readonly closeTimeoutMs: number
  /** Limits on the connections of one user, and of all clients, on this node. */
  readonly connectionsPerUser: number
  readonly maxConnections: number
}

/** Upgraded socket that is not admitted yet. */
export class Handshake {
  readonly transport: Transport
  /** Set once the client is identified. The broker's answer may still be pending. */
  connection: Connection | undefined
  /** Timeout of the closing handshake. Set once the client is refused. */
  refusal: Timer | undefined
  /** Revocations since the handshake started. The hooks may have decided before them. */
  readonly #revoked: Array<{ userId: string, sessionId: string | undefined }> = []

  constructor (transport: Transport) {
    this.transport = transport
  }

  revoke (userId: string, sessionId: string | undefined): void {
    this.#revoked.push({ userId, sessionId })
  }

  isRevoked (userId: string | undefined, sessionId?: string): boolean {
    return this.#revoked.some((entry) => entry.userId === userId && entry.sessionId === sessionId)
  }
}

/** Result of a successful admission: the identity, and the session to subscribe to from the start. */
export interface Admitted {
  readonly identity: Identity
  readonly sessionId: string | undefined
  /** Recovery data for that session and for the user's stream. */
  readonly request: SubscribeRequest
  readonly userSince: Since | undefined
  /** Whether the client reports a reconnect. */
  readonly isReconnect: boolean
  /** Decision of `authorize` about that session. */
  readonly permission: Permission
}

/** Tracks pending handshakes, and turns upgraded sockets into connections. */
export class Handshakes {
  readonly #options: HandshakesOptions
  readonly #pending = new Set<Handshake>()
  #closing: CloseName | undefined
  #onEmpty: (() => void) | undefined

  constructor (options: HandshakesOptions) {
    this.#options = options
  }

  /** Starts a handshake. Refuses it at once if there are too many connections. */
  begin (transport: Transport): Handshake {
    const { connections, maxConnections } = this.#options
    const handshake = new Handshake(transport)
    const refusal = this.#closing ?? (this.#pending.size + connections.size < maxConnections ? undefined : 'overCapacity')
    this.#pending.add(handshake)
    if (refusal !== undefined) this.refuse(handshake, refusal)
    return handshake
  }

  /**
   * Refuses a client by closing its socket. The socket is terminated if the client does not answer the close frame in time.
   * `fields` are logged and not sent to the client. Idempotent.
   */
  refuse (handshake: Handshake, name: CloseName, detail?: string, fields?: object): void {
    if (handshake.refusal !== undefined || !this.#pending.has(handshake)) return
    const { clock, counters, log, hub, closeTimeoutMs } = this.#options
    const { code, reason } = closeCodes[name]
    counters.close(name)
    log.info({ code, reason, detail, ...fields }, 'client refused')
    if (handshake.connection !== undefined) hub.drop(handshake.connection.subscriber)
    handshake.refusal = clock.after(closeTimeoutMs, () => { handshake.transport.terminate() })
    handshake.transport.close(code, detail === undefined ? reason : `${reason}: ${detail}`)
  }

  /** Ends a handshake whose socket closed before it was admitted. */
  end (handshake: Handshake): void {
    handshake.refusal?.cancel()
    if (handshake.connection !== undefined) this.#options.hub.drop(handshake.connection.subscriber)
    this.#leave(handshake)
  }

  /**
   * Refuses all pending and future handshakes. Resolves when all pending ones have closed. Terminates the sockets that are
   * still open after `ms`.
   */
  async refuseAll (name: CloseName, ms = this.#options.closeTimeoutMs): Promise<void> {
    this.#closing = name
    for (const handshake of this.#pending) this.refuse(handshake, name)
    if (this.#pending.size === 0) return
    const timer = this.#options.clock.after(ms, () => { for (const { transport } of this.#pending) transport.terminate() })
    await new Promise<void>((resolve) => { this.#onEmpty = resolve })
    timer.cancel()
  }

  /** Applies a revocation to pending handshakes. */
  revoke (userId: string, sessionId: string | undefined): void {
    const { hub } = this.#options
    for (const handshake of this.#pending) {
      handshake.revoke(userId, sessionId)
      if (handshake.connection?.userId !== userId) continue
      if (sessionId === undefined) hub.drop(handshake.connection.subscriber)
      else hub.leave(handshake.connection.subscriber, `session:${sessionId}`)
    }
  }

  /**
   * Creates a connection for the socket. The `connection` message is sent before all others. Returns the connection, or the
   * name of the close code if the client must be refused. Rejects if the broker does.
   */
  accept (handshake: Handshake, admitted: Admitted): MaybePromise<Connection | CloseName> {
    const { hub, connections, subscriptions, replies, replayBudgets, connectionsPerUser } = this.#options
    const { identity, sessionId, permission } = admitted
    const { userId } = identity
    const refusal = this.#refusal(handshake, identity)
    if (refusal !== undefined) return refusal
    if (userId !== undefined && hub.count(`user:${userId}`) >= connectionsPerUser) return 'overCapacity'

    const connection = handshake.connection = this.#connection(handshake.transport, identity)
    const requests: JoinRequest[] = [{ stream: 'all' }]
    if (userId !== undefined) requests.push({ stream: `user:${userId}`, since: admitted.userSince })
    if (sessionId !== undefined && permission === 'allowed' && !handshake.isRevoked(userId, sessionId)) {
      requests.push({ stream: `session:${sessionId}`, ...admitted.request })
    }
    return tryThen(() => hub.join(connection.subscriber, requests, (joined) => {
      // The answer may have taken a while. Dropping the subscriber aborts the join, so that nothing is sent.
      if (this.#refusal(handshake, identity) !== undefined) {
        hub.drop(connection.subscriber)
        return ''
      }
      for (const { replayBytes } of joined.values()) replayBudgets.spend(connection, replayBytes)
      const session = joined.get(`session:${String(sessionId)}`)
      if (sessionId !== undefined && session !== undefined) {
        connection.subscriptions.set(sessionId, { pending: false, joined: true })
      }
      return replies.connection(connection.id, sessionId, session, joined.get(`user:${String(userId)}`))
    }), () => {
      const late = this.#refusal(handshake, identity)
      if (late !== undefined) return late
      this.#leave(handshake)
      connections.add(connection)
      if (sessionId === undefined) return connection
      if (!connection.subscriptions.has(sessionId)) {
        subscriptions.deny(connection, sessionId, permission === 'unavailable' ? 'unavailable' : 'forbidden')
      } else if (handshake.isRevoked(userId, sessionId)) {
        // `connection` already said that the client is subscribed to the session.
        subscriptions.revoke(connection, sessionId)
      }
      return connection
    }, (error) => {
      hub.drop(connection.subscriber)
      throw error
    })
  }

  /** Returns the reason to refuse a client, if there is one by now. Checked again after each wait for the app or the broker. */
  #refusal (handshake: Handshake, identity: Identity): CloseName | undefined {
    if (handshake.refusal !== undefined || !this.#pending.has(handshake)) return 'goingAway'
    if (handshake.isRevoked(identity.userId)) return 'revoked'
    return hasExpired(identity, this.#options.clock.now()) ? 'tokenExpired' : undefined
  }

  #leave (handshake: Handshake): void {
    this.#pending.delete(handshake)
    if (this.#pending.size === 0) this.#onEmpty?.()
  }

  #connection (transport: Transport, identity: Identity): Connection {
    const { clock, pool, rateLimit, connections } = this.#options
    const outbox = new Outbox(transport, pool, () => { connections.close(connection, 'slowConsumer') })
    const connection = new Connection({
      id: clientId(clock.now()),
      identity,
      subscriber: new Subscriber(outbox),
      rateLimit: new RateLimit(rateLimit, clock.monotonic())
    })
    return connection
  }
}
