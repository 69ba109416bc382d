import { inspect } from 'node:util'
import type { OnCancel } from '../connections/cancellations.js'
import { Shutdown } from '../fastify/shutdown.js'
import type { WebSocketManager } from '../manager/manager.js'
import { resolveOptions } from '../options.js'
import { createBroker, createServer } from '../server.js'
import type { History } from '../streams/history.js'
import type { Jobs } from '../streams/job-limits.js'
import { outsideRequests } from '../util/async-context.js'
import { systemClock as clock } from '../util/clock.js'
import { errors } from '../util/errors.js'
import { safeLogger, type Logger } from '../util/logger.js'
import { publisherBroker, type RedisBrokerOptions } from './redis-broker.js'

export interface PublisherOptions extends RedisBrokerOptions {
  /**
   * Logs with fields, such as a logger of pino. Fields never contain a payload or a token. @default warnings and errors are emitted
   * as warnings of the process, of the type `AiCanvasWsWarning`. Node.js writes these to stderr.
   */
  readonly log?: Logger
  /** Limits on the jobs that this process runs. Give all nodes of the app the same. */
  readonly jobs?: Partial<Jobs>
  /** Limits on what is kept of each message that this process publishes. Give all nodes of the app the same. */
  readonly history?: Partial<Omit<History, 'maxTotalBytes' | 'maxStreams'>> | false
  /**
   * Cancels a job of this process that was not started by `startAI`, `trackAI` or `runAI`. May return a promise, which has 10
   * seconds. `false` means that the job can't be cancelled.
   */
  readonly onCancel?: OnCancel
  /** Timeout of `close`, in milliseconds. @default 2_000 */
  readonly closeTimeoutMs?: number
}

/**
 * Sends notifications from a process without a web server, such as a worker of a queue. Its methods are those of `app.wsManager`, and
 * need no `this`. It has no connections, so `recipients` in a receipt is always 0: it counts the connections of this process.
 *
 * It is a node of its own: it owns the jobs that it reports on, cancels reach it, and its jobs end as `stalled` when it dies. It
 * keeps the process alive until `close`.
 *
 * After `close`, methods reject with `AICW_ERR_PUBLISHER_CLOSED`; `startAI`, `trackAI` and `createBatcher` throw it. Reports by the
 * handles of earlier jobs resolve with `{ recipients: 0 }`, because these jobs have ended.
 */
export interface Publisher extends Pick<WebSocketManager,
  'notifyAIStart' | 'notifyAIProgress' | 'notifyAIComplete' | 'notifyAIError' | 'startAI' | 'adoptAI' | 'trackAI' | 'runAI' | 'cancelAI' |
  'broadcastToSession' | 'broadcastToUser' | 'broadcast' | 'createBatcher' | 'revoke' | 'disconnectUser' | 'getClusterStats' | 'getMetrics'> {
  /**
   * Sends what was accepted, ends the jobs that still run as `interrupted`, stops the models of `runAI`, and disconnects. Resolves
   * after `closeTimeoutMs` at the latest. What could not be sent by then is logged. May be called again.
   */
  close (): Promise<void>
  /** Calls `close`. */
  [Symbol.asyncDispose] (): Promise<void>
}

const NAMES: readonly string[] = ['redis', 'prefix', 'leaseMs', 'log', 'jobs', 'history', 'onCancel', 'closeTimeoutMs'] satisfies Array<keyof PublisherOptions>
const LEVELS = ['debug', 'info', 'warn', 'error'] as const satisfies Array<keyof Logger>
/** Fraction of `closeTimeoutMs` for the ends of jobs. The rest is for the broker: it gives up its lease, so that nobody waits for it. */
const NOTIFICATIONS_SHARE = 0.75
/** The longest interval of Node's timers. It only keeps the process alive. */
const FOREVER_MS = 2 ** 31 - 1

/**
 * Connects to Redis and returns a publisher.
 *
 * Rejects with `AICW_ERR_INVALID_OPTION` for an unknown option or an invalid value, and with an error that names the fix if Redis can't
 * be reached or is not suitable.
 */
export async function createPublisher (options: PublisherOptions): Promise<Publisher> {
  const given = checkOptions(options)
  const { redis, prefix, leaseMs, jobs, history, onCancel, closeTimeoutMs } = given
  const log = safeLogger(given.log ?? processWarnings)
  const resolved = resolveOptions({
    broker: publisherBroker({ redis, ...(prefix !== undefined && { prefix }), ...(leaseMs !== undefined && { leaseMs }) }),
    ...(jobs !== undefined && { jobs }),
    ...(history !== undefined && { history }),
    ...(onCancel !== undefined && { onCancel }),
    ...(closeTimeoutMs !== undefined && { closeTimeoutMs })
  })
  const { broker, manager, notifier, node, brokerSettings } = createServer({
    options: { ...resolved, closeTimeoutMs: resolved.closeTimeoutMs * NOTIFICATIONS_SHARE },
    clock, log, broker: createBroker(resolved, log), maxPayload: undefined
  })
  await broker.open(node, brokerSettings)
  // While Redis is away there is no socket that keeps the process alive, and ends of jobs may wait to be published.
  const alive = outsideRequests(setInterval, () => undefined, FOREVER_MS)

  const shutdown = new Shutdown({ clock, log, timeoutMs: resolved.closeTimeoutMs })
  shutdown.add(
    { name: 'notifications', run: () => manager.close(), hasOwnTimeout: true },
    { name: 'broker', run: () => broker.close() }
  )
  let closing: Promise<void> | undefined
  const close = (): Promise<void> => closing ??= shutdown.run().finally(() => { clearInterval(alive) })
  /** Returns the manager. @throws `AICW_ERR_PUBLISHER_CLOSED` after `close`. */
  const open = (): WebSocketManager => {
    if (closing !== undefined) throw new errors.PublisherClosed()
    return manager
  }
  /** Calls the manager. After `close`, returns a rejection, which need not be handled. */
  const use = <T>(call: (manager: WebSocketManager) => Promise<T>): Promise<T> =>
    closing === undefined ? call(manager) : notifier.observe('publisher', () => call(open()))
  return {
    notifyAIStart: (...args) => use((manager) => manager.notifyAIStart(...args)),
    notifyAIProgress: (...args) => use((manager) => manager.notifyAIProgress(...args)),
    notifyAIComplete: (...args) => use((manager) => manager.notifyAIComplete(...args)),
    notifyAIError: (...args) => use((manager) => manager.notifyAIError(...args)),
    startAI: (...args) => open().startAI(...args),
    adoptAI: (...args) => use((manager) => manager.adoptAI(...args)),
    trackAI: (...args) => open().trackAI(...args),
    runAI: (...args) => use((manager) => manager.runAI(...args)),
    cancelAI: (...args) => use((manager) => manager.cancelAI(...args)),
    broadcastToSession: (...args) => use((manager) => manager.broadcastToSession(...args)),
    broadcastToUser: (...args) => use((manager) => manager.broadcastToUser(...args)),
    broadcast: (...args) => use((manager) => manager.broadcast(...args)),
    createBatcher: (...args) => open().createBatcher(...args),
    revoke: (...args) => use((manager) => manager.revoke(...args)),
    disconnectUser: (...args) => use((manager) => manager.disconnectUser(...args)),
    getClusterStats: (...args) => use((manager) => manager.getClusterStats(...args)),
    getMetrics: () => manager.getMetrics(),
    close,
    [Symbol.asyncDispose]: close
  }
}

function checkOptions (options: PublisherOptions): PublisherOptions {
  // JavaScript may pass nothing.
  const given = Object(options) as PublisherOptions
  const unknown = Object.keys(given).find((name) => !NAMES.includes(name))
  if (unknown !== undefined) {
    throw new errors.InvalidOption(unknown, `is not an option of createPublisher(), which has no routes and no clients: its options are ${NAMES.join(', ')}`)
  }
  const log = Object(given.log) as Partial<Logger>
  if (given.log !== undefined && LEVELS.some((level) => typeof log[level] !== 'function')) {
    throw new errors.InvalidOption('log', `must be a logger with the methods ${LEVELS.join(', ')}, such as one of pino`)
  }
  return given
}

/** A library must not write to the console. The app can listen to the event `warning` of the process. */
const processWarnings: Logger = { debug: ignore, info: ignore, warn: emitWarning, error: emitWarning }

function emitWarning (fields: object, message: string): void {
  process.emitWarning(message, { type: 'AiCanvasWsWarning', detail: inspect(fields) })
}

function ignore (): void { /* Only what needs attention is shown. */ }
