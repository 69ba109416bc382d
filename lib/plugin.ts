import type { Server } from 'node:http'
// It is registered here, so its types come with ours: app.injectWS, app.websocketServer. An import of types alone would
// not be written into the declarations.
import '@fastify/websocket'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import type { Broker, BrokerNode } from './broker/broker.js'
import { MemoryBroker } from './broker/memory.js'
import { systemClock } from './clock.js'
import { withDeadline } from './deadline.js'
import type { DeflateSettings } from './delivery/frame.js'
import { Hub } from './delivery/hub.js'
import { OutboxPool } from './delivery/outbox.js'
import { errors } from './errors.js'
import { resolveOptions, type AiCanvasWsOptions, type ResolvedOptions } from './options.js'
import { forgetManager, rememberManager } from './registry.js'
import { Admission } from './routes/admission.js'
import { deflateSettings, Negotiations, offersOnlySmallerWindows } from './routes/deflate.js'
import { redactedSerializers } from './routes/request-log.js'
import { registerStatsRoute } from './routes/stats.js'
import { cutOffUpgrades, provideWebSocketServer } from './routes/websocket-server.js'
import { Turnstile } from './routes/turnstile.js'
import { registerWebSocketRoute } from './routes/websocket.js'
import { Arrivals } from './server/arrivals.js'
import { Cancellations } from './server/cancellations.js'
import { clientView } from './server/client.js'
import { Connections } from './server/connections.js'
import { Counters } from './server/counters.js'
import { Expiry } from './server/expiry.js'
import { Follows } from './server/follows.js'
import { Heartbeat } from './server/heartbeat.js'
import { Inbound } from './server/inbound.js'
import type { Logger } from './server/logger.js'
import { WebSocketManager } from './server/manager.js'
import { Notifier } from './server/notifier.js'
import { Replies } from './server/replies.js'
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
  warnInProduction(app, resolved)

  // Hooks run in the order in which they are added, and @fastify/websocket's ends every socket without saying why.
  const closing: Array<() => unknown> = []
  app.addHook('preClose', async () => { for (const step of closing) await step() })

  const websocketServer = await provideWebSocketServer(app, resolved)
  const deflate = deflateSettings(websocketServer.options.perMessageDeflate)
  const parts = assemble(resolved, app.log, deflate)
  const { manager, heartbeat, broker } = parts

  await broker.open(parts.node)
  const negotiations = deflate && new Negotiations(websocketServer, deflate)
  // Before what can still fail, such as a route that the app has already: then too there is something to end.
  let stopCuttingOff: (() => void) | undefined
  closing.push(
    () => { stopCuttingOff = cutOffUpgrades(app.server, systemClock, resolved.closeTimeoutMs) },
    () => { heartbeat.stop() },
    () => withDeadline(systemClock, resolved.closeTimeoutMs, manager.close()),
    () => { forgetManager(manager) },
    () => Promise.all([parts.connections.closeAll('restart'), parts.arrivals.refuseAll('restart')]),
    () => { negotiations?.stop() },
    () => { stopCuttingOff?.() },
    () => broker.close()
  )
  app.decorate('wsManager', manager)
  registerWebSocketRoute(app, {
    ...parts,
    url: resolved.url,
    log: app.log,
    turnstile: new Turnstile(systemClock, UPGRADES_PER_TURN),
    websocketServer,
    inflates: (request) => negotiations?.inflates(request) === true,
    prepare: ({ headers }) => {
      if (deflate === undefined || !offersOnlySmallerWindows(headers['sec-websocket-extensions'], deflate)) return
      delete headers['sec-websocket-extensions']
    },
    logSerializers: redactedSerializers(app.log)
  })
  if (resolved.stats !== undefined) {
    const { url, routeOptions, isGuarded } = resolved.stats
    registerStatsRoute(app, {
      url,
      routeOptions,
      getStats: (filter) => manager.getStats(filter),
      withoutIds: resolved.authenticate !== undefined && !isGuarded
    })
  }

  app.addHook('onReady', (done) => {
    heartbeat.start()
    done()
  })
  // Last, so that a registration that failed leaves nothing behind.
  served.add(app.server)
  rememberManager(manager)
}, { fastify: '5.x', name: 'ai-canvas-ws' })

const STALLED = { message: 'nothing was heard of the job for too long', type: 'stalled' } as const

/** Makes the parts of the server and joins them. */
function assemble (resolved: ResolvedOptions, log: Logger, deflate: DeflateSettings | undefined) {
  const { limits, delivery, closeTimeoutMs, heartbeatIntervalMs: intervalMs } = resolved
  const clock = systemClock
  const counters = new Counters()
  const close: Connections['close'] = (connection, name) => { connections.close(connection, name) }

  const broker: Broker = resolved.broker ?? new MemoryBroker({
    clock, log,
    ...resolved.history,
    maxTextUnits: resolved.jobs.maxTextUnits,
    ...(deflate !== undefined && { deflateFromBytes: deflate.thresholdBytes })
  })
  const hub = new Hub({ broker, clock, deflate })
  const pool = new OutboxPool({
    maxOutboxBytes: delivery.maxOutboxBytes,
    maxTotalBytes: delivery.maxTotalOutboxBytes,
    monotonic: () => clock.monotonic()
  })
  const heartbeat = new Heartbeat({ clock, counters, log, intervalMs, stallTimeoutMs: delivery.stallTimeoutMs })
  const expiry = new Expiry({ clock, close })
  const connections = new Connections({ hub, clock, counters, log, closeTimeoutMs, watchers: [heartbeat, expiry] })
  const replies = new Replies({ hub, clock, counters })
  const follows = new Follows({
    hub, clock, replies, log,
    authorize: resolved.authorize,
    authTimeoutMs: limits.authTimeoutMs,
    sessionsPerConnection: limits.sessionsPerConnection
  })
  const arrivals = new Arrivals({
    hub, pool, clock, connections, follows, replies, counters, log, closeTimeoutMs,
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
    onMessage: resolved.onMessage,
    clientOf: clientView({ hub, connections, clock })
  })
  const admission = new Admission({
    clock, log, follows,
    authenticate: resolved.authenticate,
    origins: resolved.origins,
    authTimeoutMs: limits.authTimeoutMs
  })
  const watchdog = new Watchdog({
    clock,
    stallAfterMs: resolved.jobs.stallAfterMs,
    onStall: ({ sessionId, jobId }) => {
      log.warn({ sessionId, jobId }, 'nothing was heard of a job for too long: it counts as stalled')
      void notifier.report(sessionId, { type: 'ai_error', error: STALLED, presumed: true }, jobId)
    }
  })
  const notifier = new Notifier({ broker, clock, counters, watchdog, cancellations, log })
  const manager = new WebSocketManager({ broker, clock, notifier, cancellations, connections, pool, counters })

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

function warnInProduction (app: FastifyInstance, { authenticate, onMessage, maxPayload }: ResolvedOptions): void {
  if (process.env.NODE_ENV === 'production' && authenticate === undefined) {
    app.log.warn('ai-canvas-ws lets everyone in as whoever they say they are: give it "authenticate" and "authorize"')
  }
  if (onMessage !== undefined) app.log.info({ maxPayload }, 'clients may send messages of the app\'s own, up to this size')
}
