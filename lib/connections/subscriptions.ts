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

export type Authorize = true | ((identity: Identity, action: Action) => MaybePromise<boolean>)

export interface SubscriptionsOptions {
  readonly hub: Hub
  readonly clock: Clock
  readonly replies: Replies
  /** Each request to follow costs 1, and waits for its turn before the app is asked. */
  readonly subscribeBudgets: Budgets
  readonly replayBudgets: Budgets
  readonly connections: ConnectionRegistry
  readonly log: Logger
  readonly authorize: Authorize
  readonly authTimeoutMs: number
  readonly sessionsPerConnection: number
}

/** `allowed`, or why not: the hook said no, or it gave no answer in time or threw. */
export type Permission = 'allowed' | Refusal
export type Refusal = Extract<ErrorCode, 'forbidden' | 'unavailable'>

const refusals: Record<Refusal, string> = {
  forbidden: 'you may not follow this session',
  unavailable: 'this could not be decided now: try again later'
}

/** A question to the app on behalf of a connection. */
interface Question {
  readonly connection: Connection
  readonly sessionId: string
  /** Whether the right was taken back since it was asked. The app's answer may be older than that. */
  isRevoked: boolean
}

/** Who follows which session: permission first, then the broker, then the hub. */
export class Subscriptions {
  readonly #options: SubscriptionsOptions
  /** Those that are being answered, or whose answer is being acted on. */
  readonly #questions = new Set<Question>()

  constructor (options: SubscriptionsOptions) {
    this.#options = options
  }

  /** Asks the app. Answers at once when the hook does, and always within the deadline. Never rejects. */
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
   * Asks the app on behalf of a connection and acts on the answer, unless the connection may no longer act by then. A right
   * that was taken back meanwhile is `forbidden`, whatever the app says. `act` calls `mayStill` again after each wait of its
   * own. It must not reject.
   */
  decide (connection: Connection, action: Action, act: (permission: Permission, mayStill: () => boolean) => MaybePromise<void>): void {
    const { connections } = this.#options
    const question: Question = { connection, sessionId: action.sessionId, isRevoked: false }
    const mayStill = (): boolean => !question.isRevoked && connections.mayAct(connection)
    this.#questions.add(question)
    const acted = andThen(this.permit(connection.identity, action), (permission) => {
      if (connections.mayAct(connection)) return act(question.isRevoked ? 'forbidden' : permission, mayStill)
    })
    void andThen(acted, () => { this.#questions.delete(question) })
  }

  /** Tells a client why it does not follow the session that it asked for, with `subscribe` or in its query. */
  deny (connection: Connection, sessionId: string, code: Refusal): void {
    this.#options.replies.error(connection, code, refusals[code], { request: 'subscribe', sessionId })
  }

  /**
   * Carries out a `subscribe`. It answers the client itself, whatever happens. Returns false if it has nothing to decide: there is
   * no room for the session, or an earlier request for it is being decided.
   */
  subscribe (connection: Connection, sessionId: string, request: SubscribeRequest): boolean {
    const { subscriptions } = connection
    const known = subscriptions.get(sessionId)
    if (known?.asking === true) {
      // The newest alone: a request is not small, and a client can send many while the app decides.
      known.waiting = { request, count: (known.waiting?.count ?? 0) + 1 }
      return false
    } else if (known === undefined && subscriptions.size >= this.#options.sessionsPerConnection) {
      this.#options.replies.error(connection, 'too_many_sessions', `a connection may follow ${
        String(this.#options.sessionsPerConnection)} sessions: unsubscribe from one first, or open another connection`, { request: 'subscribe', sessionId })
      return false
    } else {
      this.#ask(connection, sessionId, known ?? { asking: false, joined: false }, request, 1)
    }
    return true
  }

  /** Carries out an `unsubscribe`. One that overtakes a `subscribe` still being decided ends that too. */
  unsubscribe (connection: Connection, sessionId?: string): void {
    for (const id of sessionId === undefined ? [...connection.subscriptions.keys()] : [sessionId]) this.#leave(connection, id)
    this.#options.replies.unsubscribed(connection, sessionId)
  }

  /** Takes away the rights in a session, granted or still being decided, and tells a client that follows it. */
  revoke (connection: Connection, sessionId: string): void {
    for (const question of this.#questions) {
      if (question.connection === connection && question.sessionId === sessionId) question.isRevoked = true
    }
    if (!connection.subscriptions.has(sessionId)) return
    this.#leave(connection, sessionId)
    this.#options.replies.unsubscribed(connection, sessionId, 'revoked')
  }

  /** Asks once for `count` requests, of which this is the newest. Each is answered. */
  #ask (connection: Connection, sessionId: string, subscription: Subscription, request: SubscribeRequest, count: number): void {
    const { subscriptions } = connection
    const { connections, subscribeBudgets, replayBudgets } = this.#options
    // Asked for again, it becomes the latest.
    subscriptions.delete(sessionId)
    subscriptions.set(sessionId, subscription)
    subscription.asking = true
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
    // An unsubscribe that came meanwhile has ended this request; a later one of the same session is none of its business.
    const isWanted = (): boolean => connection.subscriptions.get(sessionId) === subscription
    void tryThen(() => hub.join(connection.subscriber, [{ stream, ...request }], (joined) => {
      // Closing it ends its way into the session, so that nothing of the broker's answer is sent.
      if (!connections.mayAct(connection)) return ''
      subscription.joined = true
      for (const { replayBytes } of joined.values()) replayBudgets.spend(connection, replayBytes)
      const answer = replies.subscribed(sessionId, joined.get(stream))
      // The last is sent by the hub, and what is replayed comes behind it.
      for (let sent = 1; sent < count; sent++) hub.send(connection.subscriber, answer)
      return answer
    }), () => {
      if (isWanted()) this.#asked(connection, sessionId, subscription)
    }, (err) => {
      log.error({ err, clientId: connection.id, sessionId }, 'the broker could not join a session')
      if (isWanted()) this.#refuse(connection, sessionId, subscription, 'unavailable', count)
    })
  }

  /** A failure takes away nothing that was granted before; a no does. */
  #refuse (connection: Connection, sessionId: string, subscription: Subscription, code: Refusal, count: number): void {
    if (code === 'forbidden' || !subscription.joined) {
      this.#leave(connection, sessionId)
      subscription.joined = false
    }
    for (let sent = 0; sent < count; sent++) this.deny(connection, sessionId, code)
    this.#asked(connection, sessionId, subscription)
  }

  /** A request is answered. Those that came meanwhile are asked for like any other. */
  #asked (connection: Connection, sessionId: string, subscription: Subscription): void {
    subscription.asking = false
    const next = subscription.waiting
    subscription.waiting = undefined
    if (next !== undefined && !connection.subscriber.outbox.closed) this.#ask(connection, sessionId, subscription, next.request, next.count)
  }

  #leave (connection: Connection, sessionId: string): void {
    connection.subscriptions.delete(sessionId)
    this.#options.subscribeBudgets.forget(connection, sessionId)
    this.#options.replayBudgets.forget(connection, sessionId)
    this.#options.hub.leave(connection.subscriber, `session:${sessionId}`)
  }
}
