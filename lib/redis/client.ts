/** The part of a client's settings that the broker reads or sets. Others, such as `tls` or `sentinels`, stay as they are. */
type RedisSettings = Readonly<Record<string, unknown>>

/** The part of the ioredis API that the broker uses. `ioredis` and `iovalkey` have it. */
export interface RedisClient {
  readonly options: RedisSettings
  readonly isCluster?: boolean
  duplicate (overrides?: RedisSettings): RedisClient
  connect (): Promise<unknown>
  disconnect (): void
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
  connectTimeout: 5_000,
  // The broker makes the next attempt, with the sentinels in another order.
  sentinelRetryStrategy: () => null,
  sentinelCommandTimeout: 2_000
}

const HELP = 'install ioredis 6 ("npm install ioredis"), or pass a client of ioredis or iovalkey as redisBroker({ redis })'

/** Returns a function that creates unconnected clients with the app's settings. @throws if there is no client library. */
export async function clientFactory (redis: unknown): Promise<() => RedisClient> {
  if (isClient(redis)) {
    if (redis.isCluster === true) throw new Error('redisBroker() does not support Redis Cluster yet: pass a client of a single server, or of Sentinel')
    const rotate = rotation(redis.options)
    return () => redis.duplicate({ ...OVERRIDES, ...rotate() })
  }
  const Client = await importClient()
  if (typeof redis === 'string') return () => new Client(redis, OVERRIDES)
  const rotate = rotation(redis as RedisSettings)
  return () => new Client({ ...redis as RedisSettings, ...OVERRIDES, ...rotate() })
}

/** Begins with another sentinel each time: an attempt may end before it has come to the second one. */
function rotation ({ sentinels }: RedisSettings): () => RedisSettings {
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
