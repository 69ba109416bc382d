import type { ServerOptions } from 'ws'
import type { Broker } from './streams/broker.js'
import { errors } from './util/errors.js'
import type { Authenticate } from './fastify/admission.js'
import { normalizeOrigin } from './fastify/origin.js'
import type { StatsRouteOptions } from './fastify/stats-route.js'
import type { OnCancel } from './connections/cancellations.js'
import type { Authorize } from './connections/subscriptions.js'
import type { OnMessage } from './connections/inbound.js'

/** Bounds on what one client, or all of them, can make the server do. */
export interface Limits {
  /** Connections on this node, those not admitted yet included. Past it clients are closed with 1013. @default Infinity */
  connections: number
  /** Connections of one user on this node. Past it clients are closed with 1013. @default 100 */
  connectionsPerUser: number
  /** Sessions that one connection may follow. Past it `subscribe` is answered `too_many_sessions`. @default 250 */
  sessionsPerConnection: number
  /** Messages and pings that a client may send in the long run. Past it, and past `burst`, it is closed with 4001. @default 50 */
  messagesPerSecond: number
  /**
   * Messages that it may send at once. The first `subscribe` with a `sessionId`, up to `sessionsPerConnection`, are not counted.
   * One with `sessions` is one message, and each of its entries that is answered `too_many_sessions` is one more. @default 100
   */
  burst: number
  /**
   * Sessions that a connection may begin to follow in the long run, each a call of `authorize`; twice `sessionsPerConnection` at
   * once. Past it further ones wait for their turn. @default 100
   */
  subscribesPerSecond: number
  /**
   * Bytes of the past (missed messages, texts of running jobs) that a connection is sent a second in the long run, four times
   * as many at once. Past it further `subscribe` wait for their turn. @default 4_194_304 (4 MiB)
   */
  replayBytesPerSecond: number
  /**
   * How long `authenticate`, and each call of `authorize` and `onCancel`, may take, in milliseconds. Then a client is closed
   * with 1013, or a `subscribe` or `cancel` answered `unavailable`. So long may the app's hooks take before an upgrade, too;
   * then the socket is destroyed. @default 10_000
   */
  authTimeoutMs: number
}

/** How messages wait for readers that are behind. */
export interface Delivery {
  /**
   * Bytes that may wait for one reader. Past it the connection is closed with 4000. Not counted: the past that it is sent when
   * it subscribes, and one message that alone is longer. @default 1_048_576 (1 MiB)
   */
  maxOutboxBytes: number
  /**
   * Bytes that may wait for all readers together. Past it the one that has held most for longest is closed with 4000.
   * @default 268_435_456 (256 MiB)
   */
  maxTotalOutboxBytes: number
  /**
   * How long a reader for whom something waits may take nothing and answer no ping, in milliseconds. Then it is closed with
   * 4000. @default 60_000
   */
  stallTimeoutMs: number
}

/**
 * What is kept for those who come back, or come late. Bytes are those that it takes in memory at most: of a message three
 * times its length and 576, or four times and 832 if it is long enough to be deflated.
 */
export interface History {
  /** Messages that are kept of one session or user; 0 keeps none. @default 1_000 */
  maxMessages: number
  /** Bytes that are kept of one session or user. @default 1_048_576 (1 MiB) */
  maxBytes: number
  /** How long they are kept after the latest one, in milliseconds. @default 300_000 (5 minutes) */
  ttlMs: number
  /** How long a job's end is kept, in milliseconds. @default 86_400_000 (24 hours) */
  endTtlMs: number
  /**
   * Bytes that are kept in all, running texts included. One message may take a sixteenth of it, and one session or user,
   * with its messages and what its jobs left, an eighth. A start or an end of a job that is larger is kept as a short form,
   * marked as `truncated`. Where there is no room for all, the session that holds most gives first, then the least recently
   * used. @default 67_108_864 (64 MiB)
   */
  maxTotalBytes: number
  /**
   * Sessions and users of which anything is kept. Those that are followed are not counted, and those with a running job may
   * be as many again. @default 100_000
   */
  maxStreams: number
}

/** How jobs are watched over. */
export interface Jobs {
  /** A job of which nothing is heard for so long ends with an `ai_error` of type `stalled`, in milliseconds. @default 600_000 (10 minutes) */
  stallAfterMs: number
  /** UTF-16 units that are kept of a job's streamed text, the newest; at most 1/32 of `history.maxTotalBytes`. @default 1_048_576 */
  maxTextUnits: number
}

/** The options of ws that the plugin passes on. */
export type WebSocketOptions = Omit<ServerOptions,
  'path' | 'server' | 'host' | 'port' | 'backlog' | 'noServer' | 'verifyClient' | 'WebSocket'>

export interface AiCanvasWsOptions {
  /** Where clients connect. @default '/ws' */
  path?: string
  /** Put before every route of the plugin, as Fastify does for other plugins. @default '' */
  prefix?: string
  /**
   * The stats route: its path, or route options such as `{ preHandler }`, or false for none.
   * @default '/api/ws/stats'
   */
  stats?: string | false | StatsRouteOptions
  /**
   * How often peers are pinged, in milliseconds. One of which nothing is heard until its next ping is cut off.
   * @default 30_000
   */
  heartbeatIntervalMs?: number
  /**
   * How long a peer has to answer a close frame, in milliseconds. Also the deadline of the plugin's whole shutdown: `app.close()`
   * waits no longer for clients, for the broker and for sockets that nobody has taken over. @default 2_000
   */
  closeTimeoutMs?: number
  /** Who a client is. Without it a client is who its query says: fit for development, and for a network of friends. */
  authenticate?: Authenticate
  /**
   * What a client may follow: `true`, or a function that answers true to allow it. It is asked for every session, each
   * time. Anything but true means no (`forbidden`); throwing, rejecting and not settling mean no for now (`unavailable`).
   * Must be given when `authenticate` is. Without both everyone may follow everything.
   */
  authorize?: Authorize
  /**
   * Origins of pages that may connect with the user's cookies, such as `https://app.example.com`; `https://*.example.com` for
   * all subdomains of example.com, at any depth, without example.com itself; `*` for any. The server's own host always may. With
   * `authenticate`, a page of another origin may connect with a token that it brings.
   * @default with `authenticate` only the server's own host, otherwise any
   */
  origins?: readonly string[]
  /**
   * Takes messages of types that the protocol does not know. Returning false answers `unknown_type`; throwing or rejecting
   * is logged and answers `internal_error`. With it, `websocket.maxPayload` is 100 MiB by default, otherwise 64 KiB.
   */
  onMessage?: OnMessage
  /**
   * Whether clients may cancel jobs when there is no `authenticate`. With it `authorize` decides, asked with
   * `{ type: 'cancel', sessionId, jobId }`. @default false
   */
  allowCancel?: boolean
  /**
   * Asked to end a job that was not started by `startAI` or `trackAI`. The client is answered when it has: false, also as a
   * promise, answers `not_cancellable`, anything else `cancelling`; throwing, rejecting and not settling answer `unavailable`.
   */
  onCancel?: OnCancel
  limits?: Partial<Limits>
  delivery?: Partial<Delivery>
  /** False keeps no messages; the state of jobs is kept all the same. */
  history?: Partial<History> | false
  jobs?: Partial<Jobs>
  /** Where messages are ordered and passed between nodes. @default one in this process */
  broker?: Broker
  /**
   * Options of ws for the plugin's own route. By default permessage-deflate with the documented settings, and `maxPayload` as
   * described at `onMessage`. The app's other WebSocket routes have ws's own defaults. Not usable when the app registered
   * @fastify/websocket itself: then its options count for every route.
   */
  websocket?: WebSocketOptions
}

/** The documented connection pool's compression: no context is kept between messages, in either direction. */
const perMessageDeflate = {
  zlibDeflateOptions: { chunkSize: 1024, memLevel: 7, level: 3 },
  zlibInflateOptions: { chunkSize: 10 * 1024 },
  clientNoContextTakeover: true,
  serverNoContextTakeover: true,
  serverMaxWindowBits: 10,
  concurrencyLimit: 10,
  threshold: 1024
} as const satisfies ServerOptions['perMessageDeflate']

export const defaults = {
  path: '/ws',
  statsPath: '/api/ws/stats',
  heartbeatIntervalMs: 30_000,
  closeTimeoutMs: 2_000,
  limits: {
    connections: Infinity,
    connectionsPerUser: 100,
    sessionsPerConnection: 250,
    messagesPerSecond: 50,
    burst: 100,
    subscribesPerSecond: 100,
    replayBytesPerSecond: 4 * 1024 * 1024,
    authTimeoutMs: 10_000
  } satisfies Limits,
  delivery: {
    maxOutboxBytes: 1024 * 1024,
    maxTotalOutboxBytes: 256 * 1024 * 1024,
    stallTimeoutMs: 60_000
  } satisfies Delivery,
  history: {
    maxMessages: 1_000,
    maxBytes: 1024 * 1024,
    ttlMs: 5 * 60_000,
    endTtlMs: 24 * 3_600_000,
    maxTotalBytes: 64 * 1024 * 1024,
    maxStreams: 100_000
  } satisfies History,
  jobs: { stallAfterMs: 10 * 60_000, maxTextUnits: 1024 * 1024 } satisfies Jobs,
  /** The built-in messages are tiny, and 100 MiB from a stranger is an attack. */
  maxPayload: 64 * 1024,
  /** The documented limit, for apps that take messages of their own. */
  maxPayloadWithOnMessage: 100 * 1024 * 1024,
  websocket: { clientTracking: true, perMessageDeflate }
} as const

/** Every option with its default, checked. */
export interface ResolvedOptions {
  readonly url: string
  readonly stats: { readonly url: string, readonly routeOptions: Omit<StatsRouteOptions, 'path'>, readonly isGuarded: boolean } | undefined
  readonly heartbeatIntervalMs: number
  readonly closeTimeoutMs: number
  readonly authenticate: Authenticate | undefined
  readonly authorize: Authorize
  readonly origins: ReadonlySet<string> | undefined
  readonly onMessage: OnMessage | undefined
  readonly limits: Limits
  readonly delivery: Delivery
  readonly history: History
  readonly jobs: Jobs
  readonly allowCancel: boolean
  readonly onCancel: OnCancel | undefined
  readonly broker: Broker | undefined
  readonly websocket: WebSocketOptions
  readonly maxPayload: number
  /** Whether the app gave ws options of its own. */
  readonly hasOwnWebSocket: boolean
}

/** Every name, complete before the compiler. */
const optionNames = Object.keys({
  path: true, prefix: true, stats: true, heartbeatIntervalMs: true, closeTimeoutMs: true, authenticate: true, authorize: true,
  origins: true, onMessage: true, allowCancel: true, onCancel: true, limits: true, delivery: true, history: true, jobs: true,
  broker: true, websocket: true
} satisfies Record<keyof AiCanvasWsOptions, true>)

/** Fastify's own, which `register` takes for every plugin. */
const registerOptions = ['prefix', 'logLevel', 'logSerializers']

/**
 * @throws `AICW_ERR_INVALID_OPTION` for a name that is unknown and a value that can't be meant, `AICW_ERR_AUTHORIZE_MISSING` for `authenticate`
 * without `authorize`.
 */
export function resolveOptions (options: AiCanvasWsOptions): ResolvedOptions {
  const { authenticate, authorize, onMessage, onCancel, broker } = options
  checkNames(options)
  checkFunction('authenticate', authenticate)
  checkFunction('onMessage', onMessage)
  checkFunction('onCancel', onCancel)
  if (authorize !== true) checkFunction('authorize', authorize, 'must be a function, or true')
  if (authenticate !== undefined && authorize === undefined) throw new errors.AuthorizeMissing()
  checkBroker(broker)
  const prefix = resolvePrefix(options.prefix)
  const maxPayload = resolveMaxPayload(options)
  return {
    url: prefix + checkPath('path', options.path ?? defaults.path),
    stats: resolveStats(options.stats, prefix),
    heartbeatIntervalMs: checkNumber('heartbeatIntervalMs', options.heartbeatIntervalMs ?? defaults.heartbeatIntervalMs),
    closeTimeoutMs: checkNumber('closeTimeoutMs', options.closeTimeoutMs ?? defaults.closeTimeoutMs),
    authenticate,
    authorize: authorize ?? true,
    origins: resolveOrigins(options.origins),
    onMessage,
    limits: resolveNumbers<Limits>('limits', defaults.limits, options.limits),
    delivery: resolveNumbers<Delivery>('delivery', defaults.delivery, options.delivery),
    history: options.history === false
      ? { ...defaults.history, maxMessages: 0 }
      : resolveNumbers<History>('history', defaults.history, options.history, ['maxMessages']),
    jobs: resolveNumbers<Jobs>('jobs', defaults.jobs, options.jobs),
    allowCancel: checkBoolean('allowCancel', options.allowCancel ?? false),
    onCancel,
    broker,
    websocket: { ...defaults.websocket, ...options.websocket, maxPayload },
    maxPayload,
    hasOwnWebSocket: options.websocket !== undefined
  }
}

function checkNames (options: object): void {
  const unknown = Object.keys(options).find((name) => !optionNames.includes(name) && !registerOptions.includes(name))
  if (unknown !== undefined) throw new errors.InvalidOption(unknown, `is unknown: there are ${optionNames.join(', ')}`)
}

/** As Fastify joins them: a slash at the end of a prefix and one at the start of a path are one. */
function resolvePrefix (prefix = ''): string {
  return prefix === '' ? prefix : checkPath('prefix', prefix).replace(/\/$/, '')
}

function resolveMaxPayload ({ websocket, onMessage }: AiCanvasWsOptions): number {
  const standard = onMessage === undefined ? defaults.maxPayload : defaults.maxPayloadWithOnMessage
  const { maxPayload = standard }: { maxPayload?: unknown } = checkObject('websocket', websocket)
  // ws compares with whatever it is given, and nothing is greater than NaN.
  if (typeof maxPayload === 'number' && maxPayload >= 0) return maxPayload
  throw new errors.InvalidOption('websocket.maxPayload', 'must be a number of bytes, or 0 for no limit')
}

function resolveStats (stats: AiCanvasWsOptions['stats'], prefix: string): ResolvedOptions['stats'] {
  if (stats === false) return undefined
  if (typeof stats !== 'string') checkObject('stats', stats, 'must be a path, route options such as { preHandler }, or false')
  const { path = defaults.statsPath, ...routeOptions } = typeof stats === 'string' ? { path: stats } : stats ?? {}
  const isGuarded = [routeOptions.onRequest, routeOptions.preParsing, routeOptions.preValidation, routeOptions.preHandler]
    .some((hook) => hook !== undefined && !(Array.isArray(hook) && hook.length === 0))
  return { url: prefix + checkPath('stats', path), routeOptions, isGuarded }
}

function resolveOrigins (origins: readonly string[] | undefined): ReadonlySet<string> | undefined {
  if (origins === undefined) return undefined
  if (!Array.isArray(origins)) throw new errors.InvalidOption('origins', 'must be an array of origins such as "https://app.example.com"')
  return new Set(origins.map((text: unknown) => {
    const origin = typeof text === 'string' ? normalizeOrigin(text) : undefined
    if (origin !== undefined) return origin
    throw new errors.InvalidOption('origins', `holds ${JSON.stringify(text)}: write an origin as "https://app.example.com", "https://*.example.com" for subdomains, or "*" for any`)
  }))
}

function resolveNumbers<T extends object> (
  group: string, standard: T, given: Partial<T> | undefined, mayBeZero: readonly string[] = []
): T {
  const unknown = Object.keys(checkObject(group, given)).find((name) => !Object.hasOwn(standard, name))
  if (unknown !== undefined) {
    throw new errors.InvalidOption(`${group}.${unknown}`, `is unknown: ${group} has ${Object.keys(standard).join(', ')}`)
  }
  const entries = Object.entries({ ...standard, ...given }).map(([name, value]: [string, unknown]) => [
    name, checkNumber(`${group}.${name}`, value ?? standard[name as keyof T], mayBeZero.includes(name))
  ])
  return Object.fromEntries(entries) as T
}

function checkNumber (name: string, value: unknown, mayBeZero = false): number {
  if (typeof value === 'number' && (value > 0 || (mayBeZero && value === 0))) return value
  throw new errors.InvalidOption(name, mayBeZero ? 'must be 0 or a number above 0' : 'must be a number above 0')
}

function checkBoolean (name: string, value: unknown): boolean {
  if (typeof value === 'boolean') return value
  throw new errors.InvalidOption(name, 'must be true or false')
}

function checkPath (name: string, value: unknown): string {
  if (typeof value === 'string' && value.startsWith('/')) return value
  throw new errors.InvalidOption(name, 'must be a path that begins with "/"')
}

function checkObject (name: string, value: object | undefined, rule = 'must be an object'): object {
  const given: unknown = value ?? {}
  if (typeof given === 'object' && given !== null && !Array.isArray(given)) return given
  throw new errors.InvalidOption(name, rule)
}

const brokerMethods = ['open', 'publish', 'join', 'leave', 'currentJob', 'control', 'close'] as const satisfies Array<keyof Broker>

function checkBroker (broker: Partial<Broker> | undefined): void {
  if (broker === undefined || brokerMethods.every((name) => typeof broker[name] === 'function')) return
  throw new errors.InvalidOption('broker', `must be a Broker: an object with ${brokerMethods.join(', ')}`)
}

function checkFunction (name: string, value: unknown, rule = 'must be a function'): void {
  if (value !== undefined && typeof value !== 'function') throw new errors.InvalidOption(name, rule)
}
