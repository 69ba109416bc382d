import type { Clock } from '../util/clock.js'
import { TIMED_OUT, withDeadline } from '../util/deadline.js'
import type { Hub } from '../delivery/hub.js'
import { isPromise, tryThen, andThen, type MaybePromise } from '../util/maybe-promise.js'
import type { ErrorCode } from '../protocol/codes.js'
import type { Budgets } from './budgets.js'
import type { Connection, Subscription, SubscribeRequest } from './connection.js'
import type { ConnectionRegistry } from './connection-registry.js'
import type { Action, Identity } from './identity.js'
import type { Logger } from '../util/logger.js'
import type { Replies } from './replies.js'
import type { Stream } from '../streams/broker.js'

/** Hook that decides what a client may do, or true to allow everything. See the option `authorize`. */
export type Authorize = true | ((identity: Identity, action: Action) => MaybePromise<boolean>)

export interface SubscriptionsOptions {
  readonly hub: Hub
  readonly clock: Clock
  readonly replies: Replies
  /** Each subscription costs 1, and waits for the budget before `authorize` is called. */
  readonly subscribeBudgets: Budgets
  readonly replayBudgets: Budgets
  readonly connections: ConnectionRegistry
  readonly log: Logger
  readonly authorize: Authorize
  readonly authTimeoutMs: number
  readonly sessionsPerConnection: number
}

/** Decision of `authorize`. `forbidden`: it refused. `unavailable`: it threw, rejected or timed out. */
export type Permission = 'allowed' | Refusal
export type Refusal = Extract<ErrorCode, 'forbidden' | 'unavailable'>

const refusals: Record<Refusal, string> = {
  forbidden: 'you may not subscribe to this session',
  unavailable: 'the permission could not be checked: try again later'
}

/** Pending call of `authorize` for a connection. */
interface PendingCheck {
  readonly connection: Connection
  readonly sessionId: string
  /** Whether the right was revoked since the call. The hook may have decided before. */
  isRevoked: boolean
}

/** Subscribes connections to sessions and unsubscribes them. Asks `authorize` first, then joins through the hub. */
export class Subscriptions {
  readonly #options: SubscriptionsOptions
  /** Calls that are pending, or whose result is being acted on. */
  readonly #checks = new Set<PendingCheck>()
  /** In this tick: streams of which history was lost, and those that could not be joined again. */
  readonly #lost = new Set<Stream>()
  readonly #unjoined = new Set<Stream>()

  constructor (options: SubscriptionsOptions) {
    this.#options = options
  }

  /** Calls `authorize`. Returns synchronously if the hook does, and always within the timeout. Never rejects. */
  permit (identity: Identity, action: Action): MaybePromise<Permission> {
    const { authorize, clock, authTimeoutMs, log } = this.#options
    if (authorize === true) return 'allowed'
    const { userId } = identity
    const { sessionId } = action
    return tryThen(() => {
      const answer = authorize(identity, action)
      return isPromise(answer) ? withDeadline(clock, authTimeoutMs, answer) : answer
    }, (answer): Permission => {
      if (answer === true) return 'allowed'
      if (answer !== TIMED_OUT) return 'forbidden'
      log.warn({ userId, sessionId, authTimeoutMs }, 'authorize did not settle in time: access refused')
      return 'unavailable'
    }, (err) => {
      log.error({ err, userId, sessionId }, 'authorize failed: access refused')
      return 'unavailable'
    })
  }

  /**
   * Calls `authorize` for a connection, and then `act` with the decision, unless the connection may no longer act. A right that
   * was revoked meanwhile is `forbidden`, whatever the hook returns. `act` must call `isStillAllowed` after each wait of its
   * own, and must not reject.
   */
  decide (connection: Connection, action: Action, act: (permission: Permission, isStillAllowed: () => boolean) => MaybePromise<void>): void {
    const { connections } = this.#options
    const check: PendingCheck = { connection, sessionId: action.sessionId, isRevoked: false }
    const isStillAllowed = (): boolean => !check.isRevoked && connections.mayAct(connection)
    this.#checks.add(check)
    const acted = andThen(this.permit(connection.identity, action), (permission) => {
      if (connections.mayAct(connection)) return act(check.isRevoked ? 'forbidden' : permission, isStillAllowed)
    })
    void andThen(acted, () => { this.#checks.delete(check) })
  }

  /** Sends the error for a refused subscription, requested by `subscribe` or in the query. */
  deny (connection: Connection, sessionId: string, code: Refusal): void {
    this.#options.replies.error(connection, code, refusals[code], { request: 'subscribe', sessionId })
  }

  /**
   * Handles a `subscribe`. Always answers the client. Returns false if it does not call `authorize`: the connection has too
   * many sessions, or an earlier request for the session is pending.
   */
  subscribe (connection: Connection, sessionId: string, request: SubscribeRequest): boolean {
    const { subscriptions } = connection
    const known = subscriptions.get(sessionId)
    if (known?.pending === true) {
      // Keep only the newest request: requests can be large, and a client can send many while one is pending.
      known.queued = { request, count: (known.queued?.count ?? 0) + 1 }
      return false
    } else if (known === undefined && subscriptions.size >= this.#options.sessionsPerConnection) {
      this.#options.replies.error(connection, 'too_many_sessions', `a connection may subscribe to ${
        String(this.#options.sessionsPerConnection)} sessions: unsubscribe from one first, or open another connection`, { request: 'subscribe', sessionId })
      return false
    } else {
      this.#request(connection, sessionId, known ?? { pending: false, joined: false }, request, 1)
    }
    return true
  }

  /** Handles an `unsubscribe`. Cancels a pending `subscribe` to the session too. */
  unsubscribe (connection: Connection, sessionId?: string): void {
    for (const id of sessionId === undefined ? [...connection.subscriptions.keys()] : [sessionId]) this.#leave(connection, id)
    this.#options.replies.unsubscribed(connection, sessionId)
  }

  /** Revokes a client's rights in a session, granted or pending. Sends `unsubscribed` to a subscriber. */
  revoke (connection: Connection, sessionId: string): void {
    for (const check of this.#checks) {
      if (check.connection === connection && check.sessionId === sessionId) check.isRevoked = true
    }
    if (!connection.subscriptions.has(sessionId)) return
    this.#leave(connection, sessionId)
    this.#options.replies.unsubscribed(connection, sessionId, 'revoked')
  }

  /**
   * Sends all subscribers of a stream their new position and a snapshot, because the broker has lost history of it. If it can't
   * be joined, disconnects them: their clients connect again later.
   */
  restarted (stream: Stream): void {
    // Its messages are neither numbered nor kept.
    if (stream === 'all') return
    const { hub, replies, clock } = this.#options
    // A store that is lost takes all of its streams with it, so they share a log entry and a look at the connections.
    if (this.#lost.size === 0) clock.endOfTick(() => { this.#reportLost() })
    this.#lost.add(stream)
    void tryThen(() => hub.restart(stream, (joined) => replies.restarted(stream, joined)), () => undefined, (error) => {
      if (this.#unjoined.size === 0) clock.endOfTick(() => { this.#disconnectUnjoined(error) })
      this.#unjoined.add(stream)
    })
  }

  #reportLost (): void {
    this.#options.log.warn({ streams: this.#lost.size }, 'the broker has lost history of streams: their subscribers get a snapshot')
    this.#lost.clear()
  }

  #disconnectUnjoined (err: unknown): void {
    const { hub, connections, log } = this.#options
    log.error({ err, streams: this.#unjoined.size }, 'the broker could not join streams again: their subscribers are disconnected')
    for (const connection of connections.values()) {
      if (hub.streamsOf(connection.subscriber).some((stream) => this.#unjoined.has(stream))) connections.close(connection, 'overCapacity')
    }
    this.#unjoined.clear()
  }

  /** Makes one call of `authorize` for `count` requests. `request` is the newest of them. Each gets an answer. */
  #request (connection: Connection, sessionId: string, subscription: Subscription, request: SubscribeRequest, count: number): void {
    const { subscriptions } = connection
    const { connections, subscribeBudgets, replayBudgets } = this.#options
    // A repeated request moves the session to the end.
    subscriptions.delete(sessionId)
    subscriptions.set(sessionId, subscription)
    subscription.pending = true
    subscribeBudgets.whenAllowed(connection, sessionId, () => {
      if (!connections.mayAct(connection)) return
      subscribeBudgets.spend(connection, 1)
      this.decide(connection, { type: 'subscribe', sessionId }, (permission) => {
        if (subscriptions.get(sessionId) !== subscription) return
        if (permission !== 'allowed') this.#refuse(connection, sessionId, subscription, permission, count)
        else replayBudgets.whenAllowed(connection, sessionId, () => { this.#join(connection, sessionId, subscription, request, count) })
      })
    })
  }

  #join (connection: Connection, sessionId: string, subscription: Subscription, request: SubscribeRequest, count: number): void {
    const { hub, replies, replayBudgets, connections, log } = this.#options
    const stream = `session:${sessionId}` as const
    // An unsubscribe cancels this request. A later subscription to the same session is another object.
    const isWanted = (): boolean => connection.subscriptions.get(sessionId) === subscription
    void tryThen(() => hub.join(connection.subscriber, [{ stream, ...request }], (joined) => {
      // A closing connection aborts the join, so the broker's answer is not sent.
      if (!connections.mayAct(connection)) return ''
      subscription.joined = true
      for (const { replayBytes } of joined.values()) replayBudgets.spend(connection, replayBytes)
      const answer = replies.subscribed(sessionId, joined.get(stream))
      // The hub sends the last one, followed by the replay.
      for (let sent = 1; sent < count; sent++) hub.send(connection.subscriber, answer)
      return answer
    }), () => {
      if (isWanted()) this.#finish(connection, sessionId, subscription)
    }, (err) => {
      log.error({ err, clientId: connection.id, sessionId }, 'the broker could not join a session')
      if (isWanted()) this.#refuse(connection, sessionId, subscription, 'unavailable', count)
    })
  }

  /** Refuses a request. `forbidden` ends an existing subscription too; `unavailable` does not. */
  #refuse (connection: Connection, sessionId: string, subscription: Subscription, code: Refusal, count: number): void {
    if (code === 'forbidden' || !subscription.joined) {
      this.#leave(connection, sessionId)
      subscription.joined = false
    }
    for (let sent = 0; sent < count; sent++) this.deny(connection, sessionId, code)
    this.#finish(connection, sessionId, subscription)
  }

  /** Finishes an answered request. Starts the next one if requests arrived meanwhile. */
  #finish (connection: Connection, sessionId: string, subscription: Subscription): void {
    subscription.pending = false
    const next = subscription.queued
    subscription.queued = undefined
    if (next !== undefined && !connection.subscriber.outbox.closed) this.#request(connection, sessionId, subscription, next.request, next.count)
  }

  #leave (connection: Connection, sessionId: string): void {
    connection.subscriptions.delete(sessionId)
    this.#options.subscribeBudgets.forget(connection, sessionId)
    this.#options.replayBudgets.forget(connection, sessionId)
    this.#options.hub.leave(connection.subscriber, `session:${sessionId}`)
  }
}
