/** Several nodes and workers over one Redis. `README.md` describes it. */
export { redisBroker, type RedisBrokerOptions } from './redis-broker.js'
export { createPublisher, type Publisher, type PublisherOptions } from './publisher.js'
export type { RedisClientLike, RedisSettings, RedisTarget } from './client.js'
// The types of the main entry point need those of Fastify, which a worker need not install.
export type { OnCancel } from '../connections/cancellations.js'
export type { AIJob } from '../manager/ai-job.js'
export type { AIOutcome } from '../manager/ai-run.js'
export type { ClusterStats, Disconnected } from '../manager/cluster.js'
export type { Receipt } from '../manager/notifier.js'
export type { Logger } from '../util/logger.js'
