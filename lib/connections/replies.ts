import { isoTimestamps, type Clock } from '../util/clock.js'
import type { JoinedStream, Hub } from '../delivery/hub.js'
import type { ErrorCode } from '../protocol/codes.js'
import type { Cancelling, ConnectionEstablished, ConnectionLimits, Pong, ProtocolError, Subscribed, Unsubscribed } from '../protocol/messages.js'
import type { Connection } from './connection.js'
import type { Counters } from './counters.js'
import type { RateLimitSettings } from './rate-limit.js'

export interface RepliesOptions {
  readonly hub: Hub
  readonly clock: Clock
  readonly counters: Counters
  /** What each connection may do, for its `connection` message. */
  readonly limits: ConnectionLimits
}

/** The limits of a connection, as a client is told them. What is without a limit is left out. */
export function connectionLimits ({ sessionsPerConnection, messagesPerSecond, burst }: RateLimitSettings, maxPayload = 0): ConnectionLimits {
  // As ws reads it: 0 is no limit, and what does not fit into 32 bits is cut.
  const bytes = maxPayload | 0
  // With a limit of 2.5 the third session is the last one that is followed.
  const limits = { sessions: Math.ceil(sessionsPerConnection), messagesPerSecond, burst, messageBytes: bytes > 0 ? bytes : Infinity }
  return Object.fromEntries(Object.entries(limits).filter(([, limit]) => limit !== Infinity))
}

/** Which message of the client's an error answers. */
export type About = Partial<Pick<ProtocolError, 'request' | 'sessionId' | 'jobId'>>

/** What the server says to one connection alone. */
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

  /** The first message of every connection, as text: it leaves through the hub's `join`. */
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

  /** The answer to `subscribe`, as text: it leaves through the hub's `join`. */
  subscribed (sessionId: string, joined: JoinedStream | undefined): string {
    return JSON.stringify({
      type: 'subscribed', sessionId, timestamp: this.#timestamp(), ...(joined && position(joined))
    } satisfies Loose<Subscribed>)
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

  /** Counted only where somebody is told: a hook may settle long after its client has gone. */
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

/** A message before it is written: JSON leaves out what is undefined. */
type Loose<T> = { [K in keyof T]: T[K] | undefined }

function position ({ epoch, seq, recovered, replaying, reason }: JoinedStream): NonNullable<ConnectionEstablished['user']> {
  return { epoch, seq, recovered, replaying, ...(reason !== undefined && { reason }) }
}
