import type { ServerOptions } from 'ws'
import type { Broker } from './streams/broker.js'
import type { History } from './streams/history.js'
import type { Jobs } from './streams/job-limits.js'
import { errors } from './util/errors.js'
import type { Authenticate } from './fastify/admission.js'
import { normalizeOrigin } from './fastify/origin.js'
import type { PublishRouteOptions } from './fastify/publish-route.js'
import type { StatsRouteOptions } from './fastify/stats-route.js'
import type { OnCancel } from './connections/cancellations.js'
import type { Authorize } from './connections/subscriptions.js'
import type { OnMessage } from './connections/inbound.js'

/** Limits on the work that one client, or all clients together, can cause. */
export interface Limits {
  /** Connections on this node, including pending handshakes. Further clients are closed with 1013. @default Infinity */
  connections: number
  /** Connections per user on this node. Further clients are closed with 1013. @default 100 */
  connectionsPerUser: number
  /** Sessions that one connection may subscribe to. A further `subscribe` fails with `too_many_sessions`. @default 250 */
  sessionsPerConnection: number
  /**
   * Sustained rate of messages and pings from one client. A client that also exceeds `burst` is closed with 4001. @default 50
   */
  messagesPerSecond: number
  /**
   * Messages that one client may send at once. The first `sessionsPerConnection` messages that subscribe to a single session
   * are free. A `subscribe` with `sessions` counts as one message, plus one for each entry that fails with `too_many_sessions`.
   * @default 100
   */
  burst: number
  /**
   * Sustained rate at which a connection may subscribe to sessions. Each subscription calls `authorize` once. A burst may hold
   * twice `sessionsPerConnection`. Further subscriptions wait. @default 100
   */
  subscribesPerSecond: number
  /**
   * Sustained rate of replayed bytes (missed messages and texts of running jobs) per connection. A burst may hold four times as
   * many. Further subscriptions wait. @default 4_194_304 (4 MiB)
   */
  replayBytesPerSecond: number
  /**
   * Timeout of `authenticate` and of each call of `authorize` and `onCancel`, in milliseconds. After it, `authenticate` closes
   * the client with 1013, and a `subscribe` or `cancel` fails with `unavailable`. Fastify hooks that run before the upgrade
   * have the same timeout. After it, the socket is destroyed. @default 10_000
   */
  authTimeoutMs: number
}

/** Limits on the messages that wait for slow consumers. */
export interface Delivery {
  /**
   * Bytes that may wait for one connection. If more bytes wait, the connection is closed with 4000. Replayed messages don't
   * count, and neither does a single message that exceeds the limit by itself. @default 1_048_576 (1 MiB)
   */
  maxOutboxBytes: number
  /**
   * Bytes that may wait for all connections together. If more bytes wait, the connection that has held the most for the longest
   * time is closed with 4000. @default 268_435_456 (256 MiB)
   */
  maxTotalOutboxBytes: number
  /**
   * How long a connection with waiting messages may read nothing and answer no ping, in milliseconds. After it, the connection
   * is closed with 4000. @default 60_000
   */
  stallTimeoutMs: number
}

/** Options of ws that the plugin accepts. */
export type WebSocketOptions = Omit<ServerOptions,
  'path' | 'server' | 'host' | 'port' | 'backlog' | 'noServer' | 'verifyClient' | 'WebSocket'>

export interface AiCanvasWsOptions {
  /** Path of the WebSocket route. @default '/ws' */
  path?: string
  /** Prefix of the plugin's routes, as in other Fastify plugins. @default '' */
  prefix?: string
  /**
   * Path of the stats route, or route options such as `{ preHandler }`. `false` disables the route.
   * @default '/api/ws/stats'
   */
  stats?: string | false | StatsRouteOptions
  /**
   * Route with which workers in other processes report on jobs and send messages over HTTP: route options such as `{ onRequest }`,
   * with an optional `path`. It needs a hook that authorizes requests, because a caller can send anything to all clients. @default false
   */
  publish?: false | PublishRouteOptions
  /**
   * Interval of keep-alive pings, in milliseconds. A client that sends nothing between two pings is disconnected.
   * @default 30_000
   */
  heartbeatIntervalMs?: number
  /**
   * How long a client has to answer a close frame, in milliseconds. Also the timeout of the plugin's whole shutdown:
   * `app.close()` waits no longer for clients, the broker and sockets without an owner. @default 2_000
   */
  closeTimeoutMs?: number
  /**
   * Identifies a client. Without this hook, the server trusts the `userId` in the query. Leave it out only in development and
   * in trusted networks.
   */
  authenticate?: Authenticate
  /**
   * Decides which sessions a client may subscribe to and which jobs it may cancel. `true` allows everything. A function is
   * called for each request and returns true to allow it. Any other value refuses the request with `forbidden`. If the function
   * throws, rejects or times out, the request fails with `unavailable`. Required if `authenticate` is given. Without both,
   * every client may subscribe to every session.
   */
  authorize?: Authorize
  /**
   * Origins of pages that may connect with the user's cookies, such as `https://app.example.com`. `https://*.example.com`
   * allows all subdomains at any depth, but not example.com itself. `*` allows any origin. The server's own host is always
   * allowed. With `authenticate`, a page of another origin can still connect with a token.
   * @default only the server's own host if `authenticate` is given, otherwise any origin
   */
  origins?: readonly string[]
  /**
   * Handles messages of types that the protocol does not define. If it returns false, the client gets the error `unknown_type`.
   * If it throws or rejects, the error is logged and the client gets `internal_error`. With this hook, `websocket.maxPayload`
   * is 100 MiB by default, otherwise 64 KiB.
   */
  onMessage?: OnMessage
  /**
   * Whether clients may cancel jobs without `authenticate`. With `authenticate`, this option is ignored: `authorize` decides,
   * called with `{ type: 'cancel', sessionId, jobId }`. @default false
   */
  allowCancel?: boolean
  /**
   * Cancels a job that was not started by `startAI`, `trackAI` or `runAI` on this node. May return a promise. `false` sends the
   * client the error `not_cancellable`. Any other value sends `cancelling`. If the hook throws, rejects or times out, the
   * client gets the error `unavailable`.
   */
  onCancel?: OnCancel
  limits?: Partial<Limits>
  delivery?: Partial<Delivery>
  /** `false` keeps no messages. The state of jobs is still kept. */
  history?: Partial<History> | false
  jobs?: Partial<Jobs>
  /** Orders and keeps messages, and passes them between nodes. @default a broker in this process's memory */
  broker?: Broker
  /**
   * Options of ws for the plugin's own route. By default, permessage-deflate is enabled with the documented settings, and
   * `maxPayload` depends on `onMessage`. The app's other WebSocket routes have ws's own defaults. Throws if the app registered
   * @fastify/websocket itself, because its options then apply to every route.
   */
  websocket?: WebSocketOptions
}

/** Default compression settings, as documented. No context is kept between messages, in either direction. */
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
  publishPath: '/api/ws/publish',
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
  /** The protocol's own messages are small, so a larger limit would only help an attacker. */
  maxPayload: 64 * 1024,
  /** The documented limit, for apps that handle their own messages. */
  maxPayloadWithOnMessage: 100 * 1024 * 1024,
  websocket: { clientTracking: true, perMessageDeflate }
} as const

type Resolvers = { [K in keyof Required<AiCanvasWsOptions>]: (value: AiCanvasWsOptions[K], options: AiCanvasWsOptions) => unknown }

/** Validates each option and applies its default. The one place where an option is declared, beside its type and its default. */
const resolvers = {
  path: (value, { prefix }) => resolvePrefix(prefix) + checkPath('path', value ?? defaults.path),
  prefix: resolvePrefix,
  stats: (value, { prefix }) => resolveStats(value, resolvePrefix(prefix)),
  publish: (value, { prefix }) => resolvePublish(value, resolvePrefix(prefix)),
  heartbeatIntervalMs: (value) => checkNumber('heartbeatIntervalMs', value ?? defaults.heartbeatIntervalMs),
  closeTimeoutMs: (value) => checkNumber('closeTimeoutMs', value ?? defaults.closeTimeoutMs),
  authenticate: (value) => checkFunction('authenticate', value),
  authorize: (value, { authenticate }): Authorize => {
    if (authenticate !== undefined && value === undefined) throw new errors.AuthorizeMissing()
    return value === true ? value : checkFunction('authorize', value, 'must be a function, or true') ?? true
  },
  origins: resolveOrigins,
  onMessage: (value) => checkFunction('onMessage', value),
  allowCancel: (value) => checkBoolean('allowCancel', value ?? false),
  onCancel: (value) => checkFunction('onCancel', value),
  limits: (value) => resolveNumbers<Limits>('limits', defaults.limits, value),
  delivery: (value) => resolveNumbers<Delivery>('delivery', defaults.delivery, value),
  history: (value) => value === false
    ? { ...defaults.history, maxMessages: 0 }
    : resolveNumbers<History>('history', defaults.history, value, ['maxMessages']),
  jobs: (value) => resolveNumbers<Jobs>('jobs', defaults.jobs, value),
  broker: (value, options) => checkBroker(value, options),
  websocket: (value, options): WebSocketOptions & { maxPayload: number } =>
    ({ ...defaults.websocket, ...value, maxPayload: resolveMaxPayload(options) })
} satisfies Resolvers

/** The validated options, with defaults applied. Paths include the prefix. */
export type ResolvedOptions = { readonly [K in keyof typeof resolvers]: ReturnType<(typeof resolvers)[K]> }

/** Options that Fastify's `register` accepts for every plugin. */
const registerOptions = ['prefix', 'logLevel', 'logSerializers']

/**
 * Validates the options and applies the defaults.
 *
 * @throws `AICW_ERR_INVALID_OPTION` for an unknown name or an invalid value, `AICW_ERR_AUTHORIZE_MISSING` for `authenticate`
 * without `authorize`.
 */
export function resolveOptions (options: AiCanvasWsOptions): ResolvedOptions {
  const unknown = Object.keys(options).find((name) => !Object.hasOwn(resolvers, name) && !registerOptions.includes(name))
  if (unknown !== undefined) throw new errors.InvalidOption(unknown, `is unknown: the options are ${Object.keys(resolvers).join(', ')}`)
  const entries = Object.entries(resolvers as Resolvers).map(([name, resolve]) =>
    [name, (resolve as Resolvers['path'])(options[name as 'path'], options)])
  return Object.fromEntries(entries) as ResolvedOptions
}

/** Removes a trailing slash: Fastify, too, joins the prefix `/a/` and the path `/b` to `/a/b`. */
function resolvePrefix (prefix = ''): string {
  return prefix === '' ? prefix : checkPath('prefix', prefix).replace(/\/$/, '')
}

function resolveMaxPayload ({ websocket, onMessage }: AiCanvasWsOptions): number {
  const standard = onMessage === undefined ? defaults.maxPayload : defaults.maxPayloadWithOnMessage
  const { maxPayload = standard }: { maxPayload?: unknown } = checkObject('websocket', websocket)
  // ws does not validate it, and no length is greater than NaN: such a value would disable the limit.
  if (typeof maxPayload === 'number' && maxPayload >= 0) return maxPayload
  throw new errors.InvalidOption('websocket.maxPayload', 'must be a number of bytes, or 0 for no limit')
}

/** The stats route, once it is known to exist. */
interface ResolvedStats {
  readonly url: string
  readonly routeOptions: Omit<StatsRouteOptions, 'path'>
  /** Whether the app guards the route with a hook. */
  readonly isGuarded: boolean
}

function resolveStats (stats: AiCanvasWsOptions['stats'], prefix: string): ResolvedStats | undefined {
  if (stats === false) return undefined
  if (typeof stats !== 'string') checkObject('stats', stats, 'must be a path, route options such as { preHandler }, or false')
  const { path = defaults.statsPath, ...routeOptions } = typeof stats === 'string' ? { path: stats } : stats ?? {}
  return { url: prefix + checkPath('stats', path), routeOptions, isGuarded: isGuarded(routeOptions) }
}

/** The publish route, once it is known to exist. */
interface ResolvedPublish {
  readonly url: string
  readonly routeOptions: Omit<PublishRouteOptions, 'path'>
}

function resolvePublish (publish: AiCanvasWsOptions['publish'], prefix: string): ResolvedPublish | undefined {
  if (publish === undefined || publish === false) return undefined
  const { path = defaults.publishPath, ...routeOptions } = checkObject('publish', publish, 'must be route options such as { onRequest }, or false') as PublishRouteOptions
  if (!isGuarded(routeOptions)) {
    throw new errors.InvalidOption('publish', 'needs a hook that guards the route, because it can send anything to all clients: add onRequest or preHandler that refuses requests without a secret')
  }
  return { url: prefix + checkPath('publish', path), routeOptions }
}

function isGuarded ({ onRequest, preParsing, preValidation, preHandler }: Omit<StatsRouteOptions, 'path'>): boolean {
  return [onRequest, preParsing, preValidation, preHandler].some((hook) => hook !== undefined && !(Array.isArray(hook) && hook.length === 0))
}

function resolveOrigins (origins: readonly string[] | undefined): ReadonlySet<string> | undefined {
  if (origins === undefined) return undefined
  if (!Array.isArray(origins)) throw new errors.InvalidOption('origins', 'must be an array of origins such as "https://app.example.com"')
  return new Set(origins.map((text: unknown) => {
    const origin = typeof text === 'string' ? normalizeOrigin(text) : undefined
    if (origin !== undefined) return origin
    throw new errors.InvalidOption('origins', `contains ${typeof text === 'string' ? `the invalid value ${JSON.stringify(text)}` : `a value of type ${typeof text}`}: write an origin as "https://app.example.com", "https://*.example.com" for subdomains, or "*" for any`)
  }))
}

function resolveNumbers<T extends object> (
  group: string, standard: T, given: Partial<T> | undefined, mayBeZero: readonly string[] = []
): T {
  const unknown = Object.keys(checkObject(group, given)).find((name) => !Object.hasOwn(standard, name))
  if (unknown !== undefined) {
    throw new errors.InvalidOption(`${group}.${unknown}`, `is unknown: the options of ${group} are ${Object.keys(standard).join(', ')}`)
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

const brokerMethods = ['open', 'publish', 'join', 'leave', 'currentJob', 'adopt', 'release', 'revoke', 'cancel', 'close'] as const satisfies Array<keyof Broker>

function checkBroker (broker: Broker | undefined, options: AiCanvasWsOptions): Broker | undefined {
  if (broker === undefined) return undefined
  // JavaScript may pass null.
  const given = Object(broker) as Partial<Broker>
  if (!brokerMethods.every((name) => typeof given[name] === 'function')) {
    throw new errors.InvalidOption('broker', `must be a Broker: an object with ${brokerMethods.join(', ')}`)
  }
  for (const name of broker.unsupported ?? []) {
    if (optionAt(options, name) !== undefined) throw new errors.InvalidOption(name, 'is not supported by the given broker: remove it, or use another broker')
  }
  return broker
}

/** Returns the value of an option that is named by its path, such as `history.maxBytes`. */
function optionAt (options: AiCanvasWsOptions, path: string): unknown {
  return path.split('.').reduce<unknown>((value, name) => (Object(value) as Record<string, unknown>)[name], options)
}

function checkFunction<T> (name: string, value: T, rule = 'must be a function'): T {
  if (value === undefined || typeof value === 'function') return value
  throw new errors.InvalidOption(name, rule)
}
