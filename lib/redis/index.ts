/** Several nodes and workers over one Redis. `README.md` describes it. */
export { redisBroker, type RedisBrokerOptions } from './redis-broker.js'
export { createPublisher, type Publisher, type PublisherOptions } from './publisher.js'
export type { RedisClientLike, RedisSettings, RedisTarget } from './client.js'
