import type { Broker, BrokerStatus, Evicted } from '../streams/broker.js'
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
  /** The latest of the sessions that it is subscribed to. */
  sessionId?: string
  /** Whether the client has sent anything since the last ping. */
  isAlive: boolean
  /** As `WebSocket.readyState`: 0 connecting, 1 open, 2 closing, 3 closed. */
  state: TransportState
}

/** The connections of this node. */
export interface Stats {
  /** Number of tracked connections, including those that are closing. */
  totalConnections: number
  /** Number of connections that are open and alive. */
  activeConnections: number
  clients: ClientStats[]
}

/** Selects the clients to list. The two totals always count all connections. */
export interface StatsFilter {
  /** Lists only clients that are subscribed to this session. */
  sessionId?: string
  /** Lists only clients of this user. */
  userId?: string
  /** Maximum number of clients to list. */
  limit?: number
}

/** Counters since the app started, and current gauges. */
export interface Metrics {
  /** Current number of tracked connections, including those that are closing. */
  totalConnections: number
  /** Current number of connections that are open and alive. */
  activeConnections: number
  /** Messages written to sockets. A message to three connections counts three times. */
  messagesSent: number
  /** Messages received from clients, including invalid ones. */
  messagesReceived: number
  /** Connections whose client reported a reconnect. */
  reconnectAttempts: number
  /** Mean time from a ping to its pong, in milliseconds. 0 before the first pong. */
  averageLatency: number
  /** Notifications and broadcasts that failed. */
  failed: number
  /** `error` messages sent to clients, by code. */
  errors: Partial<Record<ErrorCode, number>>
  /** Connections closed by the server, by name of the close code. `other` are codes of your own, see `disconnectUser`. */
  closes: Partial<Record<CloseName | 'other', number>>
  /** Current number of bytes that wait in all outboxes and sockets. */
  bufferedAmount: number
  /** Ephemeral messages that a newer one replaced before a slow consumer got them. */
  collapsed: number
  /** Messages that were still waiting when their connection closed. */
  dropped: number
  /** Connections closed because they read too slowly. */
  slowConsumers: number
  /** Bytes that history currently takes, at most `history.maxTotalBytes`. 0 if the broker keeps history elsewhere. */
  historyBytes: number
  /** State of the broker's connection to its store. Always `ready` with the default broker. */
  broker: BrokerStatus
  /** Evictions from history for lack of room, by kind. Zeros if the broker does not count them. */
  evicted: Evicted
}

export interface StatsSources {
  readonly connections: ConnectionRegistry
  readonly pool: OutboxPool
  readonly counters: Counters
  readonly broker: Pick<Broker, 'bytes' | 'evicted' | 'status'>
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

export function snapshot ({ connections }: Pick<StatsSources, 'connections'>, { sessionId, userId, limit = Infinity }: StatsFilter = {}): Stats {
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
    reconnectAttempts: counters.reconnects,
    averageLatency: counters.averageLatency,
    failed: counters.failed,
    errors: { ...counters.errors },
    closes: { ...counters.closes },
    bufferedAmount,
    collapsed: pool.collapsed,
    dropped: pool.dropped,
    slowConsumers: pool.slowConsumers,
    historyBytes: broker.bytes ?? 0,
    broker: broker.status?.() ?? { state: 'ready' },
    evicted: broker.evicted ?? { ...noEvictions }
  }
}
