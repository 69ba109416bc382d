import cluster from 'node:cluster'
import type { Server } from 'node:http'
// It is registered here, so its types come with ours: app.injectWS, app.websocketServer. An import of types alone would
// not be written into the declarations.
import '@fastify/websocket'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { Admission } from './fastify/admission.js'
import { deflateSettings, Negotiations, offersOnlySmallerWindows } from './fastify/deflate.js'
import { redactRequestLog } from './fastify/request-log.js'
import { Shutdown } from './fastify/shutdown.js'
import { registerStatsRoute } from './fastify/stats-route.js'
import { reportOtherListeners } from './fastify/upgrade-listeners.js'
import { UpgradeQueue } from './fastify/upgrade-queue.js'
import { registerWebSocketRoute } from './fastify/websocket-route.js'
import { WebSockets } from './fastify/websocket-server.js'
import type { WebSocketManager } from './manager/manager.js'
import { forgetManager, rememberManager } from './manager/registry.js'
import { resolveOptions, type AiCanvasWsOptions, type ResolvedOptions } from './options.js'
import { createBroker, createServer } from './server.js'
import { systemClock as clock } from './util/clock.js'
import { errors } from './util/errors.js'
import { safeLogger } from './util/logger.js'

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
  const shutdown = new Shutdown({ clock: clock, log, timeoutMs: closeTimeoutMs })
  app.addHook('preClose', () => shutdown.run())

  const websockets = await WebSockets.provide(app, {
    ...resolved, clock, hooksTimeoutMs: resolved.limits.authTimeoutMs
  })
  // Where the app registered @fastify/websocket, the app's options.
  const { perMessageDeflate, maxPayload } = websockets.server.options
  const deflate = deflateSettings(perMessageDeflate)
  const settings = { options: resolved, clock, log, deflate, maxPayload }
  const server = createServer({ ...settings, broker: createBroker(settings) })
  const { manager, heartbeat, broker, connections, handshakes, subscriptions } = server
  const admission = new Admission({
    clock, log, subscriptions,
    authenticate: resolved.authenticate,
    origins: resolved.origins,
    authTimeoutMs: resolved.limits.authTimeoutMs
  })
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
      run: (ms) => Promise.all([connections.closeAll('restart', ms), handshakes.refuseAll('restart', ms), websockets.close(ms)]),
      keepsTime: true
    },
    { name: 'compression', run: () => { negotiations?.stop() } }
  )
  await broker.open(server.node)
  shutdown.add({ name: 'broker', run: () => broker.close() })
  app.decorate('wsManager', manager)
  const logSerializers = redactRequestLog(app)
  registerWebSocketRoute(app, {
    ...server,
    admission,
    url: resolved.url,
    log,
    clock,
    closeTimeoutMs,
    upgradeQueue: new UpgradeQueue(clock, UPGRADES_PER_TURN),
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

  reportOtherListeners(app, websockets.upgrades)
  app.addHook('onReady', (done) => {
    heartbeat.start()
    done()
  })
  // Last, so that a registration that failed leaves nothing behind.
  served.add(app.server)
  rememberManager(manager)
}, { fastify: '5.x', name: 'ai-canvas-ws' })

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
