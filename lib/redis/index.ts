/** A broker for an app of several nodes over Redis. `README.md` describes it. */
export { redisBroker, type RedisBrokerOptions } from './redis-broker.js'
export type { RedisClientLike, RedisSettings, RedisTarget } from './client.js'
