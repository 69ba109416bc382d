import { replayBudgets, subscribeBudgets } from './connections/budgets.js'
import { Cancellations } from './connections/cancellations.js'
import { clientView } from './connections/client-view.js'
import { ConnectionRegistry } from './connections/connection-registry.js'
import { Counters } from './connections/counters.js'
import { Expiry } from './connections/expiry.js'
import { Handshakes } from './connections/handshakes.js'
import { Heartbeat } from './connections/heartbeat.js'
import { Inbound } from './connections/inbound.js'
import { connectionLimits, Replies } from './connections/replies.js'
import { Subscriptions } from './connections/subscriptions.js'
import type { DeflateSettings } from './delivery/frame.js'
import { Hub } from './delivery/hub.js'
import { OutboxPool } from './delivery/outbox-pool.js'
import { Cluster } from './manager/cluster.js'
import { WebSocketManager } from './manager/manager.js'
import { Notifier } from './manager/notifier.js'
import { snapshot } from './manager/stats.js'
import type { ResolvedOptions } from './options.js'
import type { Broker, BrokerNode, BrokerSettings } from './streams/broker.js'
import { CheckedBroker } from './streams/checked-broker.js'
import { MemoryBroker } from './streams/memory-broker.js'
import { sessionOf } from './streams/stream-name.js'
import type { Clock } from './util/clock.js'
import type { Logger } from './util/logger.js'

/** Dependencies of `createServer`. */
export interface ServerOptions<B extends Broker = Broker> {
  readonly options: ResolvedOptions
  readonly clock: Clock
  readonly log: Logger
  /** Where messages are ordered and kept: see `createBroker`. */
  readonly broker: B
  /** Compression settings. Without them, messages are sent uncompressed. */
  readonly deflate?: DeflateSettings | undefined
  /** The largest message that ws accepts from a client, in bytes. */
  readonly maxPayload: number | undefined
}

/** Returns the broker of the options, checked against its contract, or one in this process's memory. */
export function createBroker ({ broker }: Pick<ResolvedOptions, 'broker'>, log: Logger): Broker {
  return broker === undefined ? new MemoryBroker() : new CheckedBroker(broker, (err) => { log.error({ err }, 'the broker violated its contract') })
}

export type Server<B extends Broker = Broker> = ReturnType<typeof createServer<B>>

/**
 * Creates and connects all parts of the server below Fastify, ws and HTTP. This is the composition root: the plugin calls it
 * with the real clock, and tests with a fake one. Each part gets only parts that already exist.
 */
export function createServer<B extends Broker> ({ options, clock, log, broker, deflate, maxPayload }: ServerOptions<B>) {
  const { limits, delivery, jobs, closeTimeoutMs } = options
  const { authTimeoutMs } = limits
  const counters = new Counters()
  const hub = new Hub({ broker, clock, deflate })
  const pool = new OutboxPool({ maxOutboxBytes: delivery.maxOutboxBytes, maxTotalBytes: delivery.maxTotalOutboxBytes, clock })

  const connections = new ConnectionRegistry({ hub, clock, counters, log, closeTimeoutMs })
  const heartbeat = new Heartbeat({ clock, counters, log, intervalMs: options.heartbeatIntervalMs, stallTimeoutMs: delivery.stallTimeoutMs })
  const budgets = { subscribeBudgets: subscribeBudgets(clock, limits), replayBudgets: replayBudgets(clock, limits) }
  connections.watch(heartbeat, new Expiry({ clock, connections }), ...Object.values(budgets))

  const clientLimits = connectionLimits(limits, maxPayload)
  const replies = new Replies({ hub, clock, counters, limits: clientLimits })
  const subscriptions = new Subscriptions({
    ...budgets, hub, clock, replies, connections, log, authTimeoutMs,
    authorize: options.authorize,
    sessionsPerConnection: limits.sessionsPerConnection
  })
  const handshakes = new Handshakes({
    ...budgets, hub, pool, clock, connections, subscriptions, replies, counters, log, closeTimeoutMs,
    rateLimit: limits,
    connectionsPerUser: limits.connectionsPerUser,
    maxConnections: limits.connections
  })
  const cancellations = new Cancellations({
    clock, broker, subscriptions, replies, log, authTimeoutMs,
    allowed: options.authenticate !== undefined || options.allowCancel,
    onCancel: options.onCancel
  })
  const inbound = new Inbound({
    clock, connections, subscriptions, cancellations, replies, counters, log,
    limits: clientLimits,
    onMessage: options.onMessage,
    clientOf: clientView({ hub, connections, clock })
  })

  const notifier = new Notifier({ ...jobs, deliver: (stream, publication) => hub.deliver(stream, publication), broker, clock, counters, cancellations, log, closeTimeoutMs })
  const cluster = new Cluster({ broker, connections, getStats: (filter) => snapshot({ connections }, filter) })
  const manager = new WebSocketManager({ cluster, broker, clock, notifier, cancellations, connections, pool, counters, maxTextUnits: jobs.maxTextUnits })

  /** The broker's interface to this process. */
  const node: BrokerNode = {
    deliver: (stream, publication) => hub.deliver(stream, publication),
    restarted: (stream) => { subscriptions.restarted(stream) },
    reseed: () => notifier.reseed(),
    orphaned: (stream, jobId, ownership) => { notifier.orphaned(sessionOf(stream), jobId, ownership) },
    disowned: (stream, jobId) => { notifier.disowned(sessionOf(stream), jobId) },
    cancel: (stream, jobId) => cancellations.cancelLocally(sessionOf(stream), jobId),
    answer: (question) => cluster.answer(question),
    statusChanged: (status) => { notifier.statusChanged(status) },
    revoke: ({ userId, sessionId }) => {
      handshakes.revoke(userId, sessionId)
      for (const connection of connections.values()) {
        if (connection.userId !== userId) continue
        if (sessionId === undefined) connections.close(connection, 'revoked')
        else subscriptions.revoke(connection, sessionId)
      }
    }
  }
  const brokerSettings: BrokerSettings = {
    clock, log, ...jobs,
    history: options.history,
    ...(deflate !== undefined && { deflateFromBytes: deflate.thresholdBytes })
  }
  return {
    broker, brokerSettings, node, hub, pool, counters, connections, heartbeat, replies, subscriptions, handshakes, cancellations, inbound, notifier, manager
  }
}
