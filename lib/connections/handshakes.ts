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
  /** How long a peer has to answer a close frame, in milliseconds. */
  readonly closeTimeoutMs: number
  /** How many connections one user may have on this node, and how many there may be in all. */
  readonly connectionsPerUser: number
  readonly maxConnections: number
}

/** A socket that is upgraded and not admitted yet. */
export class Handshake {
  readonly transport: Transport
  /** Set once it is known who comes, and the broker is being asked. */
  connection: Connection | undefined
  /** The deadline of its closing handshake, once it is refused. */
  refusal: Timer | undefined
  /** What was revoked since it began: the app's answers that it goes by may be older than that. */
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

/** Who is admitted: as which user, and following which session from the start. */
export interface Admitted {
  readonly identity: Identity
  readonly sessionId: string | undefined
  /** Where it was in that session, and in the user's stream. */
  readonly request: SubscribeRequest
  readonly userSince: Since | undefined
  /** Whether it says that it was here before. */
  readonly returns: boolean
  /** Whether it may follow that session. */
  readonly permission: Permission
}

/** The way from an upgraded socket to a tracked connection. */
export class Handshakes {
  readonly #options: HandshakesOptions
  readonly #underWay = new Set<Handshake>()
  #closing: CloseName | undefined
  #onceEmpty: (() => void) | undefined

  constructor (options: HandshakesOptions) {
    this.#options = options
  }

  /** Begins a handshake. One for which there is no room is refused at once. */
  begin (transport: Transport): Handshake {
    const { connections, maxConnections } = this.#options
    const handshake = new Handshake(transport)
    const refusal = this.#closing ?? (this.#underWay.size + connections.size < maxConnections ? undefined : 'overCapacity')
    this.#underWay.add(handshake)
    if (refusal !== undefined) this.refuse(handshake, refusal)
    return handshake
  }

  /**
   * Closes it. A peer that does not answer the close frame in time is cut off. Refusing twice is refusing once. `fields` are
   * logged, and not told to the client.
   */
  refuse (handshake: Handshake, name: CloseName, detail?: string, fields?: object): void {
    if (handshake.refusal !== undefined || !this.#underWay.has(handshake)) return
    const { clock, counters, log, hub, closeTimeoutMs } = this.#options
    const { code, reason } = closeCodes[name]
    counters.close(name)
    log.info({ code, reason, detail, ...fields }, 'client refused')
    if (handshake.connection !== undefined) hub.drop(handshake.connection.subscriber)
    handshake.refusal = clock.after(closeTimeoutMs, () => { handshake.transport.terminate() })
    handshake.transport.close(code, detail === undefined ? reason : `${reason}: ${detail}`)
  }

  /** The socket has closed before it was admitted. */
  end (handshake: Handshake): void {
    handshake.refusal?.cancel()
    if (handshake.connection !== undefined) this.#options.hub.drop(handshake.connection.subscriber)
    this.#leave(handshake)
  }

  /**
   * Refuses all, those still to come too, and resolves when every one is gone. Those that have not closed after `ms` are
   * cut off.
   */
  async refuseAll (name: CloseName, ms = this.#options.closeTimeoutMs): Promise<void> {
    this.#closing = name
    for (const handshake of this.#underWay) this.refuse(handshake, name)
    if (this.#underWay.size === 0) return
    const timer = this.#options.clock.after(ms, () => { for (const { transport } of this.#underWay) transport.terminate() })
    await new Promise<void>((resolve) => { this.#onceEmpty = resolve })
    timer.cancel()
  }

  /** A revocation reaches those on their way too. */
  revoke (userId: string, sessionId: string | undefined): void {
    const { hub } = this.#options
    for (const handshake of this.#underWay) {
      handshake.revoke(userId, sessionId)
      if (handshake.connection?.userId !== userId) continue
      if (sessionId === undefined) hub.drop(handshake.connection.subscriber)
      else hub.leave(handshake.connection.subscriber, `session:${sessionId}`)
    }
  }

  /**
   * Makes a connection of the socket: `connection` first, then everything else. Answers it, or how the socket should be
   * closed instead. Rejects when the broker does.
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
      // The broker may have taken its time. Dropping it ends its way into the streams, so that nothing is sent.
      if (this.#refusal(handshake, identity) !== undefined) {
        hub.drop(connection.subscriber)
        return ''
      }
      for (const { replayBytes } of joined.values()) replayBudgets.spend(connection, replayBytes)
      const session = joined.get(`session:${String(sessionId)}`)
      if (sessionId !== undefined && session !== undefined) {
        connection.subscriptions.set(sessionId, { asking: false, joined: true })
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
        // After `connection` had told that it follows the session.
        subscriptions.revoke(connection, sessionId)
      }
      return connection
    }, (error) => {
      hub.drop(connection.subscriber)
      throw error
    })
  }

  /** Why a client may no longer come in, by now: the app and the broker were waited for. */
  #refusal (handshake: Handshake, identity: Identity): CloseName | undefined {
    if (handshake.refusal !== undefined || !this.#underWay.has(handshake)) return 'goingAway'
    if (handshake.isRevoked(identity.userId)) return 'revoked'
    return hasExpired(identity, this.#options.clock.now()) ? 'tokenExpired' : undefined
  }

  #leave (handshake: Handshake): void {
    this.#underWay.delete(handshake)
    if (this.#underWay.size === 0) this.#onceEmpty?.()
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
