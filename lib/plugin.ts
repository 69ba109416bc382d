import cluster from 'node:cluster'
import type { Server } from 'node:http'
// Brings the types of app.injectWS and app.websocketServer, because this plugin registers @fastify/websocket. TypeScript would
// omit a type-only import from the declaration files.
import '@fastify/websocket'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { Admission } from './fastify/admission.js'
import { deflateSettings, Negotiations, offersOnlySmallerWindows } from './fastify/deflate.js'
import { registerPublishRoute } from './fastify/publish-route.js'
import { redactRequestLog } from './fastify/request-log.js'
import { Shutdown } from './fastify/shutdown.js'
import { registerStatsRoute } from './fastify/stats-route.js'
import { reportOtherListeners } from './fastify/upgrade-listeners.js'
import { UpgradeQueue } from './fastify/upgrade-queue.js'
import { registerWebSocketRoute } from './fastify/websocket-route.js'
import { WebSockets } from './fastify/websocket-server.js'
import type { WebSocketManager } from './manager/manager.js'
import { forgetManager, rememberManager } from './manager/registry.js'
import { publishRemote } from './manager/remote.js'
import { resolveOptions, type AiCanvasWsOptions, type ResolvedOptions } from './options.js'
import { createBroker, createServer } from './server.js'
import { systemClock as clock } from './util/clock.js'
import { errors } from './util/errors.js'
import { safeLogger } from './util/logger.js'

declare module 'fastify' {
  interface FastifyInstance {
    /** Sends notifications about AI jobs to browsers: see `WebSocketManager`. */
    wsManager: WebSocketManager
  }
}

/** One upgrade takes about 0.5 ms, including the messages that it is sent. So a turn of the event loop takes about 8 ms. */
const UPGRADES_PER_TURN = 16

/** Servers that have the plugin. A second registration on one server would answer each upgrade twice. */
const served = new WeakSet<Server>()

/**
 * Fastify plugin that notifies browsers about AI jobs over WebSockets. Adds `GET /ws`, `GET /api/ws/stats` and `app.wsManager`,
 * and `POST /api/ws/publish` if the option `publish` is given.
 *
 * @throws `AICW_ERR_ALREADY_REGISTERED` for a second registration on a server, `AICW_ERR_INVALID_OPTION` for invalid options,
 * `AICW_ERR_AUTHORIZE_MISSING` for `authenticate` without `authorize`.
 */
export const aiCanvasWs = fp<AiCanvasWsOptions>(async (app, options) => {
  const resolved = resolveOptions(options)
  if (served.has(app.server)) throw new errors.AlreadyRegistered()
  warnAtStart(app, resolved)

  const { closeTimeoutMs } = resolved
  const log = safeLogger(app.log)
  const shutdown = new Shutdown({ clock, log, timeoutMs: closeTimeoutMs })
  app.addHook('preClose', () => shutdown.run())

  const websockets = await WebSockets.provide(app, {
    ...resolved, hasOwnWebSocket: options.websocket !== undefined, clock, hooksTimeoutMs: resolved.limits.authTimeoutMs
  })
  // If the app registered @fastify/websocket itself, these are the app's options.
  const { perMessageDeflate, maxPayload } = websockets.server.options
  const deflate = deflateSettings(perMessageDeflate)
  const server = createServer({ options: resolved, clock, log, deflate, maxPayload, broker: createBroker(resolved, log) })
  const { manager, heartbeat, broker, connections, handshakes, subscriptions } = server
  const admission = new Admission({
    clock, log, subscriptions,
    authenticate: resolved.authenticate,
    origins: resolved.origins,
    authTimeoutMs: resolved.limits.authTimeoutMs
  })
  const negotiations = deflate && new Negotiations(websockets.server, deflate)
  // Added before steps that can still fail, such as a duplicate route: a failed registration must be cleaned up too.
  shutdown.add(
    { name: 'upgrades', run: () => { websockets.upgrades.close() } },
    { name: 'heartbeat', run: () => { heartbeat.stop() } },
    // Half of the time, so that clients have time for the closing handshake even if the broker is slow.
    { name: 'notifications', run: () => manager.close(), share: 0.5 },
    { name: 'manager', run: () => { forgetManager(manager) } },
    {
      name: 'connections',
      run: (ms) => Promise.all([connections.closeAll('restart', ms), handshakes.refuseAll('restart', ms), websockets.close(ms)]),
      hasOwnTimeout: true
    },
    { name: 'compression', run: () => { negotiations?.stop() } }
  )
  await broker.open(server.node, server.brokerSettings)
  shutdown.add({ name: 'broker', run: () => broker.close() })
  app.decorate('wsManager', manager)
  const logSerializers = redactRequestLog(app)
  registerWebSocketRoute(app, {
    ...server,
    admission,
    url: resolved.path,
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
      getClusterStats: (filter) => manager.getClusterStats(filter),
      logSerializers,
      withoutIds: resolved.authenticate !== undefined && !isGuarded
    })
  }
  if (resolved.publish !== undefined) {
    registerPublishRoute(app, { ...resolved.publish, logSerializers, publish: (request, key) => publishRemote(server.notifier, request, key) })
  }

  reportOtherListeners(app, websockets.upgrades)
  app.addHook('onReady', (done) => {
    heartbeat.start()
    done()
  })
  // Last, so that a failed registration leaves nothing behind.
  served.add(app.server)
  rememberManager(manager)
}, { fastify: '5.x', name: 'ai-canvas-ws' })

function warnAtStart (app: FastifyInstance, { authenticate, broker, stats, onMessage, websocket: { maxPayload } }: ResolvedOptions): void {
  if (process.env.NODE_ENV === 'production' && authenticate === undefined) {
    const open = stats !== undefined && !stats.isGuarded
    app.log.warn({ ...open && { stats: stats.url } },
      `ai-canvas-ws does not authenticate clients, so any client can claim any userId: set the options "authenticate" and "authorize"${
        open ? `. GET ${stats.url} shows the ids of all clients to everyone: guard it with stats: { preHandler }, or disable it with stats: false` : ''}`)
  }
  if (broker === undefined && hasSiblingProcesses()) {
    app.log.warn('ai-canvas-ws runs in a worker process, and each process has its own sessions: a client gets only the jobs that its own process reports. Run one process, or set the option "broker" to one that all processes share')
  }
  if (onMessage !== undefined) app.log.info({ maxPayload }, 'clients may send the app\'s own messages, up to this size in bytes')
}

/**
 * Whether other processes probably serve the same clients: this one is a worker of `cluster`, or of PM2, which numbers its
 * processes.
 */
function hasSiblingProcesses (): boolean {
  return cluster.isWorker || Number(process.env.NODE_APP_INSTANCE ?? 0) > 0
}
