import { Redis } from 'ioredis'
import { defaults } from '../../../lib/options.js'
import { redisBroker, type RedisTarget } from '../../../lib/redis/index.js'
import type { Broker, Published, PublishOptions, Stream } from '../../../lib/streams/broker.js'
import { systemClock } from '../../../lib/util/clock.js'
import { idleNode } from '../../support/idle-node.js'
import { until } from '../../support/until.js'

const silent = (): void => undefined
const settings = {
  // A thousand messages of 370 bytes fit.
  history: { ...defaults.history, maxBytes: 8 * 1024 * 1024 },
  ...defaults.jobs,
  clock: systemClock,
  log: { debug: silent, info: silent, warn: silent, error: silent }
}

/** Brokers of several nodes. The first one publishes, all of them subscribe. */
export class Nodes {
  readonly brokers: readonly Broker[]
  readonly #counts: { deliveries: number }
  #expected = 0

  private constructor (brokers: readonly Broker[], counts: { deliveries: number }) {
    this.brokers = brokers
    this.#counts = counts
  }

  static async open (redis: RedisTarget, count: number, prefix = 'aicw'): Promise<Nodes> {
    const counts = { deliveries: 0 }
    const brokers = await Promise.all(Array.from({ length: count }, async () => {
      const broker = redisBroker({ redis, prefix })
      await broker.open(idleNode({ deliver: () => ++counts.deliveries }), settings)
      return broker
    }))
    return new Nodes(brokers, counts)
  }

  get publisher (): Broker {
    const [first] = this.brokers
    if (first === undefined) throw new Error('there are no nodes')
    return first
  }

  async join (streams: readonly Stream[]): Promise<void> {
    for (const broker of this.brokers) await Promise.all(streams.map(async (stream) => broker.join(stream)))
  }

  /** Publishes a message, which all nodes must deliver. */
  async publish (stream: Stream, body: string, options: PublishOptions): Promise<Published> {
    this.#expected += this.brokers.length
    const published = await this.publisher.publish(stream, body, options)
    if (published.dropped !== undefined) throw new Error(`a message was refused: ${published.dropped}`)
    return published
  }

  /** Waits until everything is delivered. Throws if a message is missing. */
  async delivered (): Promise<void> {
    const startedAt = performance.now()
    await until(() => this.#counts.deliveries >= this.#expected || performance.now() - startedAt > 10_000)
    if (this.#counts.deliveries !== this.#expected) throw new Error(`${this.#counts.deliveries} instead of ${this.#expected} messages were delivered`)
  }

  async close (): Promise<void> {
    for (const broker of this.brokers) await broker.close()
  }
}

/** Clients that publish and subscribe without a broker. */
export class Plain {
  readonly #publisher: Redis
  readonly #subscribers: readonly Redis[]
  readonly #counts: { deliveries: number }
  #expected = 0

  private constructor (publisher: Redis, subscribers: readonly Redis[], counts: { deliveries: number }) {
    this.#publisher = publisher
    this.#subscribers = subscribers
    this.#counts = counts
  }

  static async open (port: number, count: number, channels: readonly string[]): Promise<Plain> {
    const counts = { deliveries: 0 }
    const subscribers = await Promise.all(Array.from({ length: count }, async () => {
      const subscriber = new Redis({ port, protocol: 2 }).on('messageBuffer', () => { counts.deliveries++ })
      await subscriber.subscribe(...channels)
      return subscriber
    }))
    return new Plain(new Redis({ port, protocol: 2 }), subscribers, counts)
  }

  /** Executes commands in one pipeline, which publish a number of messages. */
  async run (commands: ReadonlyArray<readonly [name: string, ...args: string[]]>, messages = commands.length): Promise<void> {
    const pipeline = this.#publisher.pipeline()
    for (const [name, ...args] of commands) pipeline.call(name, ...args)
    for (const [error] of await pipeline.exec() ?? []) if (error !== null) throw error
    this.#expected += messages * this.#subscribers.length
  }

  async delivered (): Promise<void> {
    const startedAt = performance.now()
    await until(() => this.#counts.deliveries >= this.#expected || performance.now() - startedAt > 10_000)
    if (this.#counts.deliveries !== this.#expected) throw new Error(`${this.#counts.deliveries} instead of ${this.#expected} messages were delivered`)
  }

  close (): void {
    for (const client of [this.#publisher, ...this.#subscribers]) client.disconnect()
  }
}
