import cluster from 'node:cluster'
import type { Server } from 'node:http'
// It is registered here, so its types come with ours: app.injectWS, app.websocketServer. An import of types alone would
// not be written into the declarations.
import '@fastify/websocket'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import type { Broker, BrokerNode } from './broker/broker.js'
import { CheckedBroker } from './broker/checked.js'
import { MemoryBroker } from './broker/memory.js'
import { systemClock } from './clock.js'
import type { DeflateSettings } from './delivery/frame.js'
import { Hub } from './delivery/hub.js'
import { OutboxPool } from './delivery/outbox-pool.js'
import { errors } from './errors.js'
import { resolveOptions, type AiCanvasWsOptions, type ResolvedOptions } from './options.js'
import { forgetManager, rememberManager } from './registry.js'
import { Admission } from './routes/admission.js'
import { deflateSettings, Negotiations, offersOnlySmallerWindows } from './routes/deflate.js'
import { reportNeighbours } from './routes/neighbours.js'
import { redactRequestLog } from './routes/request-log.js'
import { registerStatsRoute } from './routes/stats.js'
import { Turnstile } from './routes/turnstile.js'
import { WebSockets } from './routes/websocket-server.js'
import { registerWebSocketRoute } from './routes/websocket.js'
import { Arrivals } from './server/arrivals.js'
import { replayBudgets, subscribeBudgets } from './server/budgets.js'
import { Cancellations } from './server/cancellations.js'
import { clientView } from './server/client.js'
import { Connections } from './server/connections.js'
import { Counters } from './server/counters.js'
import { Expiry } from './server/expiry.js'
import { Follows } from './server/follows.js'
import { Heartbeat } from './server/heartbeat.js'
import { Inbound } from './server/inbound.js'
import { safeLogger, type Logger } from './server/logger.js'
import { WebSocketManager } from './server/manager.js'
import { Notifier } from './server/notifier.js'
import { connectionLimits, Replies } from './server/replies.js'
import { Shutdown } from './server/shutdown.js'
import { Watchdog } from './server/watchdog.js'

declare module 'fastify' {
  interface FastifyInstance {
    /** Tells browsers about AI jobs: see `WebSocketManager`. */
    wsManager: WebSocketManager
  }
}

/** Each takes about half a millisecond, with all that it is sent: some hundredths of a second that others wait. */
const UPGRADES_PER_TURN = 16

/** Servers that have the plugin: twice on one, both would answer an upgrade. */
const served = new WeakSet<Server>()

/**
 * Notifies browsers about AI jobs over WebSockets: `GET /ws`, `app.wsManager`, `GET /api/ws/stats`.
 *
 * @throws `AICW_ERR_ALREADY_REGISTERED` the second time on a server, `AICW_ERR_INVALID_OPTION` and
 * `AICW_ERR_AUTHORIZE_MISSING` for options that can't be meant.
 */
export const aiCanvasWs = fp<AiCanvasWsOptions>(async (app, options) => {
  const resolved = resolveOptions(options)
  if (served.has(app.server)) throw new errors.AlreadyRegistered()
  warnAtStart(app, resolved)

  const { closeTimeoutMs } = resolved
  const log = safeLogger(app.log)
  const shutdown = new Shutdown({ clock: systemClock, log, timeoutMs: closeTimeoutMs })
  app.addHook('preClose', () => shutdown.run())

  const websockets = await WebSockets.provide(app, {
    ...resolved, clock: systemClock, hooksTimeoutMs: resolved.limits.authTimeoutMs
  })
  // Where the app registered @fastify/websocket, the app's options.
  const { perMessageDeflate, maxPayload } = websockets.server.options
  const deflate = deflateSettings(perMessageDeflate)
  const parts = assemble(resolved, log, deflate, maxPayload)
  const { manager, heartbeat, broker, connections, arrivals } = parts
  const negotiations = deflate && new Negotiations(websockets.server, deflate)
  // Before what can still fail, such as a route that the app has already: then too there is something to end.
  shutdown.add(
    { name: 'upgrades', run: () => { websockets.upgrades.close() } },
    { name: 'heartbeat', run: () => { heartbeat.stop() } },
    // Half of the time, so that clients still have time for the closing handshake when the broker is slow.
    { name: 'notifications', run: () => manager.close(), share: 0.5 },
    { name: 'manager', run: () => { forgetManager(manager) } },
    {
      name: 'connections',
      run: (ms) => Promise.all([connections.closeAll('restart', ms), arrivals.refuseAll('restart', ms), websockets.close(ms)]),
      keepsTime: true
    },
    { name: 'compression', run: () => { negotiations?.stop() } }
  )
  await broker.open(parts.node)
  shutdown.add({ name: 'broker', run: () => broker.close() })
  app.decorate('wsManager', manager)
  const logSerializers = redactRequestLog(app)
  registerWebSocketRoute(app, {
    ...parts,
    url: resolved.url,
    log,
    clock: systemClock,
    closeTimeoutMs: resolved.closeTimeoutMs,
    turnstile: new Turnstile(systemClock, UPGRADES_PER_TURN),
    websockets,
    inflates: (request) => negotiations?.inflates(request) === true,
    prepare: ({ headers }) => {
      if (deflate === undefined || !offersOnlySmallerWindows(headers['sec-websocket-extensions'], deflate)) return
      delete headers['sec-websocket-extensions']
    },
    logSerializers
  })
  if (resolved.stats !== undefined) {
    const { url, routeOptions, isGuarded } = resolved.stats
    registerStatsRoute(app, {
      url,
      routeOptions,
      getStats: (filter) => manager.getStats(filter),
      logSerializers,
      withoutIds: resolved.authenticate !== undefined && !isGuarded
    })
  }

  reportNeighbours(app, websockets.upgrades)
  app.addHook('onReady', (done) => {
    heartbeat.start()
    done()
  })
  // Last, so that a registration that failed leaves nothing behind.
  served.add(app.server)
  rememberManager(manager)
}, { fastify: '5.x', name: 'ai-canvas-ws' })

/** Makes the parts of the server and joins them. */
function assemble (resolved: ResolvedOptions, log: Logger, deflate: DeflateSettings | undefined, maxPayload: number | undefined) {
  const { limits, delivery, closeTimeoutMs, heartbeatIntervalMs: intervalMs } = resolved
  const clock = systemClock
  const counters = new Counters()
  const close: Connections['close'] = (connection, name) => { connections.close(connection, name) }

  const onBrokerFault = (err: unknown): void => { log.error({ err }, 'the broker broke its contract') }
  const broker: Broker = resolved.broker !== undefined ? new CheckedBroker(resolved.broker, onBrokerFault) : new MemoryBroker({
    clock, log,
    ...resolved.history,
    maxTextUnits: resolved.jobs.maxTextUnits,
    ...(deflate !== undefined && { deflateFromBytes: deflate.thresholdBytes })
  })
  const hub = new Hub({ broker, clock, deflate })
  const pool = new OutboxPool({
    maxOutboxBytes: delivery.maxOutboxBytes,
    maxTotalBytes: delivery.maxTotalOutboxBytes,
    clock
  })
  const heartbeat = new Heartbeat({ clock, counters, log, intervalMs, stallTimeoutMs: delivery.stallTimeoutMs })
  const expiry = new Expiry({ clock, close })
  const budgets = { subscribeBudgets: subscribeBudgets(clock, limits), replayBudgets: replayBudgets(clock, limits) }
  const connections = new Connections({
    hub, clock, counters, log, closeTimeoutMs, watchers: [heartbeat, expiry, ...Object.values(budgets)]
  })
  const clientLimits = connectionLimits(limits, maxPayload)
  const replies = new Replies({ hub, clock, counters, limits: clientLimits })
  const follows = new Follows({
    ...budgets, hub, clock, replies, connections, log,
    authorize: resolved.authorize,
    authTimeoutMs: limits.authTimeoutMs,
    sessionsPerConnection: limits.sessionsPerConnection
  })
  const arrivals = new Arrivals({
    ...budgets, hub, pool, clock, connections, follows, replies, counters, log, closeTimeoutMs,
    rateLimit: limits,
    connectionsPerUser: limits.connectionsPerUser,
    maxConnections: limits.connections
  })
  const cancellations = new Cancellations({
    clock, broker, follows, replies, log,
    authTimeoutMs: limits.authTimeoutMs,
    allowed: resolved.authenticate !== undefined || resolved.allowCancel,
    onCancel: resolved.onCancel
  })
  const inbound = new Inbound({
    clock, connections, follows, cancellations, replies, counters, log,
    limits: clientLimits,
    onMessage: resolved.onMessage,
    clientOf: clientView({ hub, connections, clock })
  })
  const admission = new Admission({
    clock, log, follows,
    authenticate: resolved.authenticate,
    origins: resolved.origins,
    authTimeoutMs: limits.authTimeoutMs
  })
  const watchdog: Watchdog = new Watchdog({
    clock,
    stallAfterMs: resolved.jobs.stallAfterMs,
    onStall: (job) => notifier.stall(job)
  })
  const notifier = new Notifier({ broker, clock, counters, watchdog, cancellations, log, closeTimeoutMs })
  const manager = new WebSocketManager({
    broker, clock, notifier, cancellations, connections, pool, counters, maxTextUnits: resolved.jobs.maxTextUnits
  })

  const node: BrokerNode = {
    deliver: (stream, publication) => hub.deliver(stream, publication),
    control: (message) => {
      if (message.type === 'cancel') return cancellations.carryOut(message.sessionId, message.jobId)
      const { userId, sessionId } = message
      arrivals.revoke(userId, sessionId)
      for (const connection of connections.values()) {
        if (connection.userId !== userId) continue
        if (sessionId === undefined) connections.close(connection, 'revoked')
        else follows.revoke(connection, sessionId)
      }
      return true
    }
  }
  return { broker, node, manager, heartbeat, connections, arrivals, inbound, admission, counters }
}

function warnAtStart (app: FastifyInstance, { authenticate, broker, stats, onMessage, maxPayload }: ResolvedOptions): void {
  if (process.env.NODE_ENV === 'production' && authenticate === undefined) {
    const open = stats !== undefined && !stats.isGuarded
    app.log.warn({ ...open && { stats: stats.url } },
      `ai-canvas-ws lets everyone in as whoever they say they are: give it "authenticate" and "authorize"${
        open ? `; and GET ${stats.url} shows everyone's ids to everyone: guard it with stats: { preHandler }, or leave it out with stats: false` : ''}`)
  }
  if (broker === undefined && isOneOfMany()) {
    app.log.warn('ai-canvas-ws runs in a worker process, and each process has its own sessions: a client hears only of jobs that its own process reports. Run one process, or give it a "broker" that all processes share')
  }
  if (onMessage !== undefined) app.log.info({ maxPayload }, 'clients may send messages of the app\'s own, up to this size')
}

/** Whether this process probably has siblings that serve the same clients: workers of `cluster` and PM2, which numbers its processes. */
function isOneOfMany (): boolean {
  return cluster.isWorker || Number(process.env.NODE_APP_INSTANCE ?? 0) > 0
}
