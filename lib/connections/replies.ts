import { isoTimestamps, type Clock } from '../util/clock.js'
import type { JoinedStream, Hub } from '../delivery/hub.js'
import type { ErrorCode } from '../protocol/codes.js'
import type { Cancelling, ConnectionEstablished, ConnectionLimits, Pong, ProtocolError, SessionSubscribed, Unsubscribed, UserSubscribed } from '../protocol/messages.js'
import type { Stream } from '../streams/broker.js'
import { isSession, sessionOf } from '../streams/stream-name.js'
import type { Connection } from './connection.js'
import type { Counters } from './counters.js'
import type { RateLimitSettings } from './rate-limit.js'

export interface RepliesOptions {
  readonly hub: Hub
  readonly clock: Clock
  readonly counters: Counters
  /** Limits to announce in the `connection` message. */
  readonly limits: ConnectionLimits
}

/** Returns the limits that `connection` announces. Leaves out those that are unlimited. */
export function connectionLimits ({ sessionsPerConnection, messagesPerSecond, burst }: RateLimitSettings, maxPayload = 0): ConnectionLimits {
  // As in ws: 0 means no limit, and the value is truncated to 32 bits.
  const bytes = maxPayload | 0
  // A limit of 2.5 allows three sessions.
  const limits = { sessions: Math.ceil(sessionsPerConnection), messagesPerSecond, burst, messageBytes: bytes > 0 ? bytes : Infinity }
  return Object.fromEntries(Object.entries(limits).filter(([, limit]) => limit !== Infinity))
}

/** Identifies the client's message that an error answers. */
export type About = Partial<Pick<ProtocolError, 'request' | 'sessionId' | 'jobId'>>

/** Sends the server's replies to single connections. */
export class Replies {
  readonly #hub: Hub
  readonly #counters: Counters
  readonly #limits: ConnectionLimits
  readonly #timestamp: () => string

  constructor ({ hub, clock, counters, limits }: RepliesOptions) {
    this.#hub = hub
    this.#counters = counters
    this.#limits = limits
    this.#timestamp = isoTimestamps(clock)
  }

  /** Returns the first message of every connection as JSON text. The hub's `join` sends it. */
  connection (clientId: string, sessionId: string | undefined, session: JoinedStream | undefined, user: JoinedStream | undefined): string {
    return JSON.stringify({
      type: 'connection',
      status: 'connected',
      clientId,
      timestamp: this.#timestamp(),
      limits: this.#limits,
      ...(session && { sessionId, ...position(session) }),
      ...(user && { user: position(user) })
    } satisfies Loose<ConnectionEstablished>)
  }

  /** Returns the reply to `subscribe` as JSON text. The hub's `join` sends it. */
  subscribed (sessionId: string, joined: JoinedStream | undefined): string {
    return JSON.stringify({
      type: 'subscribed', sessionId, timestamp: this.#timestamp(), ...(joined && position(joined))
    } satisfies Loose<SessionSubscribed>)
  }

  /** Returns the message about a stream whose history was lost, as JSON text. The hub's `restart` sends it. */
  restarted (stream: Stream, joined: JoinedStream): string {
    if (isSession(stream)) return this.subscribed(sessionOf(stream), joined)
    return JSON.stringify({ type: 'subscribed', timestamp: this.#timestamp(), user: position(joined) } satisfies Loose<UserSubscribed>)
  }

  unsubscribed (connection: Connection, sessionId?: string, reason?: 'revoked'): void {
    this.#send(connection, { type: 'unsubscribed', timestamp: this.#timestamp(), sessionId, reason })
  }

  pong (connection: Connection): void {
    this.#send(connection, { type: 'pong', timestamp: this.#timestamp() })
  }

  cancelling (connection: Connection, sessionId: string, jobId: string): void {
    this.#send(connection, { type: 'cancelling', sessionId, jobId, timestamp: this.#timestamp() })
  }

  /** Sends and counts an error. Does neither after a disconnect: a hook may settle long after it. */
  error (connection: Connection, code: ErrorCode, message: string, about: Loose<About> = {}): void {
    if (connection.subscriber.outbox.closed) return
    this.#counters.error(code)
    const { request, sessionId, jobId } = about
    this.#send(connection, { type: 'error', code, message, timestamp: this.#timestamp(), request, sessionId, jobId })
  }

  #send (connection: Connection, message: Loose<Pong> | Loose<Unsubscribed> | Loose<Cancelling> | Loose<ProtocolError>): void {
    this.#hub.send(connection.subscriber, JSON.stringify(message))
  }
}

/** A message before serialization. JSON.stringify omits undefined fields. */
type Loose<T> = { [K in keyof T]: T[K] | undefined }

function position ({ epoch, seq, recovered, replaying, reason }: JoinedStream): NonNullable<ConnectionEstablished['user']> {
  return { epoch, seq, recovered, replaying, ...(reason !== undefined && { reason }) }
}
