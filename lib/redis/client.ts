/** The part of a client's settings that the broker reads or sets. Others, such as `tls` or `sentinels`, stay as they are. */
type RedisSettings = Readonly<Record<string, unknown>>

/** The part of the ioredis API that the broker uses. `ioredis` and `iovalkey` have it. */
export interface RedisClient {
  readonly options: RedisSettings
  readonly isCluster?: boolean
  duplicate (overrides?: RedisSettings): RedisClient
  connect (): Promise<unknown>
  disconnect (): void
  /** The socket, once it is connected. */
  readonly stream: { cork (): void, uncork (): void }
  callBuffer (command: string, ...args: Array<string | Buffer | number>): Promise<unknown>
  on (event: string, listener: (...args: never[]) => void): unknown
}

/** What the broker's own connections set, whatever the app's client does. */
const OVERRIDES: RedisSettings = {
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
  // The scripts name their keys themselves.
  keyPrefix: '',
  // With RESP3 a large reply would delay the messages that share its connection.
  protocol: 2,
  connectTimeout: 5_000
}

const HELP = 'install ioredis 6 ("npm install ioredis"), or pass a client of ioredis or iovalkey as redisBroker({ redis })'

/** Returns a function that creates unconnected clients with the app's settings. @throws if there is no client library. */
export async function clientFactory (redis: unknown): Promise<() => RedisClient> {
  if (isClient(redis)) {
    if (redis.isCluster === true) throw new Error('redisBroker() does not support Redis Cluster yet: pass a client of a single server, or of Sentinel')
    return () => redis.duplicate(OVERRIDES)
  }
  const Client = await importClient()
  return () => typeof redis === 'string' ? new Client(redis, OVERRIDES) : new Client({ ...redis as RedisSettings, ...OVERRIDES })
}

type ClientClass = new (...args: unknown[]) => RedisClient

async function importClient (): Promise<ClientClass> {
  try {
    const module = await import('ioredis') as { readonly Redis: unknown }
    return module.Redis as ClientClass
  } catch (cause) {
    throw new Error(`redisBroker() can't load a Redis client: ${HELP}`, { cause })
  }
}

function isClient (redis: unknown): redis is RedisClient {
  return typeof redis === 'object' && redis !== null && 'duplicate' in redis && typeof redis.duplicate === 'function'
}

/** Throws if the value is neither settings nor a client. */
export function checkRedis (redis: unknown): void {
  if (typeof redis === 'string' || (typeof redis === 'object' && redis !== null && !Array.isArray(redis))) return
  throw new TypeError(`redisBroker({ redis }) needs connection settings such as { host: '127.0.0.1', port: 6379 }, a redis:// URL, or a client: ${HELP}`)
}
