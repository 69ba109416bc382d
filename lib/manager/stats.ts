import type { Broker, Evicted } from '../streams/broker.js'
import { noEvictions } from '../streams/evictions.js'
import type { OutboxPool } from '../delivery/outbox-pool.js'
import type { TransportState } from '../delivery/transport.js'
import type { CloseName, ErrorCode } from '../protocol/codes.js'
import type { Connection } from '../connections/connection.js'
import type { ConnectionRegistry } from '../connections/connection-registry.js'
import type { Counters } from '../connections/counters.js'

/** One connection, as the stats route shows it. */
export interface ClientStats {
  id: string
  userId?: string
  /** The latest session that it follows. */
  sessionId?: string
  /** Whether something was heard of it since the last ping. */
  isAlive: boolean
  /** As `WebSocket.readyState`: 0 connecting, 1 open, 2 closing, 3 closed. */
  state: TransportState
}

export interface Stats {
  /** Every connection that is tracked. */
  totalConnections: number
  /** Those that are open and alive. */
  activeConnections: number
  clients: ClientStats[]
}

/** Which clients to list. The two totals are always those of all. */
export interface StatsFilter {
  /** Only those that follow this session. */
  sessionId?: string
  /** Only this user's. */
  userId?: string
  /** At most so many. */
  limit?: number
}

/** Counters since the app started, and what is so right now. */
export interface Metrics {
  totalConnections: number
  activeConnections: number
  /** Messages handed to sockets, once for each connection that got it. */
  messagesSent: number
  /** Messages from clients. */
  messagesReceived: number
  /** Connections that said that they come back. */
  reconnectAttempts: number
  /** The mean time from a ping to its pong, in milliseconds; 0 before the first. */
  averageLatency: number
  /** Notifications and broadcasts that failed. */
  failed: number
  /** `error` messages sent, by code. */
  errors: Partial<Record<ErrorCode, number>>
  /** Connections closed by the server, by the name of the close code. */
  closes: Partial<Record<CloseName, number>>
  /** Bytes that wait in all outboxes and sockets for their readers, now. */
  bufferedAmount: number
  /** Ephemeral messages that a newer one replaced while their reader was behind. */
  collapsed: number
  /** Messages that still waited when their connection ended. */
  dropped: number
  /** Connections closed because their reader was too slow. */
  slowConsumers: number
  /** Bytes that history keeps, of at most `history.maxTotalBytes`. 0 where the broker keeps them elsewhere. */
  historyBytes: number
  /** What history let go of before its time because there was no room, by kind. Zeros where the broker does not count it. */
  evicted: Evicted
}

export interface StatsSources {
  readonly connections: ConnectionRegistry
  readonly pool: OutboxPool
  readonly counters: Counters
  readonly broker: Pick<Broker, 'bytes' | 'evicted'>
}

const OPEN = 1

function isActive (connection: Connection): boolean {
  return connection.isAlive && connection.subscriber.outbox.transport.state === OPEN
}

function countActive (connections: ConnectionRegistry): number {
  let active = 0
  for (const connection of connections.values()) if (isActive(connection)) active++
  return active
}

export function snapshot ({ connections }: StatsSources, { sessionId, userId, limit = Infinity }: StatsFilter = {}): Stats {
  const clients: ClientStats[] = []
  for (const connection of connections.values()) {
    if (clients.length >= limit) break
    if (userId !== undefined && connection.userId !== userId) continue
    if (sessionId !== undefined && connection.subscriptions.get(sessionId)?.joined !== true) continue
    clients.push(describe(connection))
  }
  return { totalConnections: connections.size, activeConnections: countActive(connections), clients }
}

function describe (connection: Connection): ClientStats {
  const sessionId = connection.sessionIds.at(-1)
  return {
    id: connection.id,
    ...(connection.userId !== undefined && { userId: connection.userId }),
    ...(sessionId !== undefined && { sessionId }),
    isAlive: connection.isAlive,
    state: connection.subscriber.outbox.transport.state
  }
}

export function metrics ({ connections, pool, counters, broker }: StatsSources): Metrics {
  let bufferedAmount = 0
  for (const { subscriber } of connections.values()) bufferedAmount += subscriber.outbox.bufferedBytes
  return {
    totalConnections: connections.size,
    activeConnections: countActive(connections),
    messagesSent: pool.sent,
    messagesReceived: counters.received,
    reconnectAttempts: counters.returned,
    averageLatency: counters.averageLatency,
    failed: counters.failed,
    errors: { ...counters.errors },
    closes: { ...counters.closes },
    bufferedAmount,
    collapsed: pool.collapsed,
    dropped: pool.dropped,
    slowConsumers: pool.slowConsumers,
    historyBytes: broker.bytes ?? 0,
    evicted: broker.evicted ?? { ...noEvictions }
  }
}
