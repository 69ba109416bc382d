import type { Clock, Timer } from '../clock.js'
import { Follower } from '../delivery/follower.js'
import type { Hub, JoinRequest } from '../delivery/hub.js'
import { Outbox } from '../delivery/outbox.js'
import type { OutboxPool } from '../delivery/outbox-pool.js'
import type { Transport } from '../delivery/transport.js'
import { proceed, type MaybePromise } from '../maybe-promise.js'
import { closeCodes, type CloseName } from '../protocol/codes.js'
import type { Since } from '../protocol/positions.js'
import type { Budgets } from './budgets.js'
import { clientId, Connection, type FollowRequest } from './connection.js'
import type { Connections } from './connections.js'
import type { Counters } from './counters.js'
import type { Follows, Permission } from './follows.js'
import { hasExpired, type Identity } from './identity.js'
import type { Logger } from './logger.js'
import { RateLimit, type RateLimitSettings } from './rate-limit.js'
import type { Replies } from './replies.js'

export interface ArrivalsOptions {
  readonly hub: Hub
  readonly pool: OutboxPool
  readonly clock: Clock
  readonly connections: Connections
  readonly follows: Follows
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
export class Arrival {
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
  readonly request: FollowRequest
  readonly userSince: Since | undefined
  /** Whether it says that it was here before. */
  readonly returns: boolean
  /** Whether it may follow that session. */
  readonly permission: Permission
}

/** The way from an upgraded socket to a tracked connection. */
export class Arrivals {
  readonly #options: ArrivalsOptions
  readonly #underWay = new Set<Arrival>()
  #closing: CloseName | undefined
  #onceEmpty: (() => void) | undefined

  constructor (options: ArrivalsOptions) {
    this.#options = options
  }

  /** Begins an arrival. One for which there is no room is refused at once. */
  begin (transport: Transport): Arrival {
    const { connections, maxConnections } = this.#options
    const arrival = new Arrival(transport)
    const refusal = this.#closing ?? (this.#underWay.size + connections.size < maxConnections ? undefined : 'overCapacity')
    this.#underWay.add(arrival)
    if (refusal !== undefined) this.refuse(arrival, refusal)
    return arrival
  }

  /**
   * Closes it. A peer that does not answer the close frame in time is cut off. Refusing twice is refusing once. `fields` are
   * logged, and not told to the client.
   */
  refuse (arrival: Arrival, name: CloseName, detail?: string, fields?: object): void {
    if (arrival.refusal !== undefined || !this.#underWay.has(arrival)) return
    const { clock, counters, log, hub, closeTimeoutMs } = this.#options
    const { code, reason } = closeCodes[name]
    counters.close(name)
    log.info({ code, reason, detail, ...fields }, 'client refused')
    if (arrival.connection !== undefined) hub.drop(arrival.connection.follower)
    arrival.refusal = clock.after(closeTimeoutMs, () => { arrival.transport.terminate() })
    arrival.transport.close(code, detail === undefined ? reason : `${reason}: ${detail}`)
  }

  /** The socket has closed before it was admitted. */
  end (arrival: Arrival): void {
    arrival.refusal?.cancel()
    if (arrival.connection !== undefined) this.#options.hub.drop(arrival.connection.follower)
    this.#leave(arrival)
  }

  /**
   * Refuses all, those still to come too, and resolves when every one is gone. Those that have not closed after `ms` are
   * cut off.
   */
  async refuseAll (name: CloseName, ms = this.#options.closeTimeoutMs): Promise<void> {
    this.#closing = name
    for (const arrival of this.#underWay) this.refuse(arrival, name)
    if (this.#underWay.size === 0) return
    const timer = this.#options.clock.after(ms, () => { for (const { transport } of this.#underWay) transport.terminate() })
    await new Promise<void>((resolve) => { this.#onceEmpty = resolve })
    timer.cancel()
  }

  /** A revocation reaches those on their way too. */
  revoke (userId: string, sessionId: string | undefined): void {
    const { hub } = this.#options
    for (const arrival of this.#underWay) {
      arrival.revoke(userId, sessionId)
      if (arrival.connection?.userId !== userId) continue
      if (sessionId === undefined) hub.drop(arrival.connection.follower)
      else hub.leave(arrival.connection.follower, `session:${sessionId}`)
    }
  }

  /**
   * Makes a connection of the socket: `connection` first, then everything else. Answers it, or how the socket should be
   * closed instead. Rejects when the broker does.
   */
  accept (arrival: Arrival, admitted: Admitted): MaybePromise<Connection | CloseName> {
    const { hub, connections, follows, replies, replayBudgets, connectionsPerUser } = this.#options
    const { identity, sessionId, permission } = admitted
    const { userId } = identity
    const refusal = this.#refusal(arrival, identity)
    if (refusal !== undefined) return refusal
    if (userId !== undefined && hub.count(`user:${userId}`) >= connectionsPerUser) return 'overCapacity'

    const connection = arrival.connection = this.#connection(arrival.transport, identity)
    const requests: JoinRequest[] = [{ stream: 'all' }]
    if (userId !== undefined) requests.push({ stream: `user:${userId}`, since: admitted.userSince })
    if (sessionId !== undefined && permission === 'allowed' && !arrival.isRevoked(userId, sessionId)) {
      requests.push({ stream: `session:${sessionId}`, ...admitted.request })
    }
    return proceed(() => hub.join(connection.follower, requests, (joined) => {
      // The broker may have taken its time. Dropping it ends its way into the streams, so that nothing is sent.
      if (this.#refusal(arrival, identity) !== undefined) {
        hub.drop(connection.follower)
        return ''
      }
      for (const { replayBytes } of joined.values()) replayBudgets.spend(connection, replayBytes)
      const session = joined.get(`session:${String(sessionId)}`)
      if (sessionId !== undefined && session !== undefined) {
        connection.follows.set(sessionId, { asking: false, joined: true })
      }
      return replies.connection(connection.id, sessionId, session, joined.get(`user:${String(userId)}`))
    }), () => {
      const late = this.#refusal(arrival, identity)
      if (late !== undefined) return late
      this.#leave(arrival)
      connections.add(connection)
      if (sessionId === undefined) return connection
      if (!connection.follows.has(sessionId)) {
        follows.deny(connection, sessionId, permission === 'unavailable' ? 'unavailable' : 'forbidden')
      } else if (arrival.isRevoked(userId, sessionId)) {
        // After `connection` had told that it follows the session.
        follows.revoke(connection, sessionId)
      }
      return connection
    }, (error) => {
      hub.drop(connection.follower)
      throw error
    })
  }

  /** Why a client may no longer come in, by now: the app and the broker were waited for. */
  #refusal (arrival: Arrival, identity: Identity): CloseName | undefined {
    if (arrival.refusal !== undefined || !this.#underWay.has(arrival)) return 'goingAway'
    if (arrival.isRevoked(identity.userId)) return 'revoked'
    return hasExpired(identity, this.#options.clock.now()) ? 'tokenExpired' : undefined
  }

  #leave (arrival: Arrival): void {
    this.#underWay.delete(arrival)
    if (this.#underWay.size === 0) this.#onceEmpty?.()
  }

  #connection (transport: Transport, identity: Identity): Connection {
    const { clock, pool, rateLimit, connections } = this.#options
    const outbox = new Outbox(transport, pool, () => { connections.close(connection, 'slowReader') })
    const connection = new Connection({
      id: clientId(clock.now()),
      identity,
      follower: new Follower(outbox),
      rateLimit: new RateLimit(rateLimit, clock.monotonic())
    })
    return connection
  }
}
