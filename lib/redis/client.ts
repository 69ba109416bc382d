import { errors } from '../util/errors.js'

/**
 * Settings of a connection, as `ioredis` takes them. Its other settings may be given too. The broker itself decides about time limits,
 * retries, queues and pipelining, and ignores such settings.
 */
export interface RedisSettings {
  /** @default '127.0.0.1' */
  readonly host?: string | undefined
  /** @default 6379 */
  readonly port?: number | undefined
  /** Path of a Unix socket, instead of `host` and `port`. */
  readonly path?: string | undefined
  /** 4 or 6 for one version of IP, 0 for both. */
  readonly family?: number | undefined
  /** Name of the ACL user. @default 'default' */
  readonly username?: string | undefined
  readonly password?: string | undefined
  /** Number of the database. The channels of all databases are the same, so it does not replace `prefix`. @default 0 */
  readonly db?: number | undefined
  /** Options of `tls.connect`. An empty object enables TLS with the defaults. Without this setting, there is no TLS. */
  readonly tls?: object | undefined
  /** Addresses of Sentinels, instead of `host` and `port`. */
  readonly sentinels?: ReadonlyArray<{ readonly host?: string | undefined, readonly port?: number | undefined }> | undefined
  /** Name of the group that the Sentinels watch. */
  readonly name?: string | undefined
  readonly sentinelUsername?: string | undefined
  readonly sentinelPassword?: string | undefined
}

/** A client of `ioredis` or `iovalkey`. Only its settings are used. */
export interface RedisClientLike {
  readonly options: object
  duplicate (): unknown
}

/** How Redis is reached: settings, a `redis://` or `rediss://` URL, or a client whose settings are copied. */
export type RedisTarget = string | RedisSettings | (RedisSettings & Readonly<Record<string, unknown>>) | RedisClientLike

type Settings = Readonly<Record<string, unknown>>

/** The part of the ioredis API that the broker uses. `ioredis` and `iovalkey` have it. */
export interface RedisClient {
  readonly isCluster?: boolean
  readonly options: object
  duplicate (overrides?: Settings): RedisClient
  connect (): Promise<unknown>
  disconnect (): void
  /** The socket, once it is connected. */
  readonly stream: { readonly writable: boolean, cork (): void, uncork (): void }
  callBuffer (command: string, ...args: Array<string | Buffer | number>): Promise<unknown>
  on (event: string, listener: (...args: never[]) => void): unknown
}

/** What the broker's own connections set, whatever the app's client does. */
const OVERRIDES: Settings = {
  lazyConnect: true,
  // The broker reconnects, resubscribes and repeats by itself. A client that sends a command again could publish a message twice.
  retryStrategy: () => null,
  reconnectOnError: null,
  enableOfflineQueue: false,
  maxRetriesPerRequest: null,
  autoResendUnfulfilledCommands: false,
  autoResubscribe: false,
  enableAutoPipelining: false,
  commandTimeout: undefined,
  // The broker names its keys itself.
  keyPrefix: '',
  // With RESP3 a large reply would delay the messages that share its connection.
  protocol: 2,
  connectTimeout: 5_000,
  // The broker makes the next attempt, with the sentinels in another order.
  sentinelRetryStrategy: () => null,
  sentinelCommandTimeout: 2_000
}

const HELP = 'install ioredis 6 ("npm install ioredis"), or pass a client of ioredis or iovalkey'

/** Returns a function that creates unconnected clients with the app's settings. @throws if there is no client library. */
export async function clientFactory (redis: RedisTarget): Promise<() => RedisClient> {
  if (isClient(redis)) {
    if (redis.isCluster === true) throw new errors.InvalidOption('redis', 'is a client of Redis Cluster, which is not supported yet: pass a client of a single server, or of Sentinel')
    const rotate = rotation(redis.options as Settings)
    return () => redis.duplicate({ ...OVERRIDES, ...rotate() })
  }
  const Client = await importClient()
  if (typeof redis === 'string') return () => new Client(redis, OVERRIDES)
  const rotate = rotation(redis as Settings)
  return () => new Client({ ...redis, ...OVERRIDES, ...rotate() })
}

/** Begins with another sentinel each time: an attempt may end before it has come to the second one. */
function rotation ({ sentinels }: Settings): () => Settings {
  if (!Array.isArray(sentinels)) return () => ({})
  const all: readonly unknown[] = sentinels
  let turn = 0
  return () => {
    const first = turn++ % all.length
    return { sentinels: [...all.slice(first), ...all.slice(0, first)] }
  }
}

type ClientClass = new (...args: unknown[]) => RedisClient

async function importClient (): Promise<ClientClass> {
  try {
    const module = await import('ioredis') as { readonly Redis: unknown }
    return module.Redis as ClientClass
  } catch (cause) {
    throw new Error(`ai-canvas-ws/redis can't load a Redis client: ${HELP}`, { cause })
  }
}

function isClient (redis: unknown): redis is RedisClient {
  return typeof redis === 'object' && redis !== null && 'duplicate' in redis && typeof redis.duplicate === 'function'
}

/** Throws if the value is neither settings nor a client. */
export function checkRedis (redis: unknown): void {
  if (typeof redis === 'string' || (typeof redis === 'object' && redis !== null && !Array.isArray(redis))) return
  throw new errors.InvalidOption('redis', `needs connection settings such as { host: '127.0.0.1', port: 6379 }, a redis:// URL, or a client: ${HELP}`)
}
