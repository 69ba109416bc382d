import { randomUUID } from 'node:crypto'
import { hostname } from 'node:os'
import type {
  Answers, Broker, BrokerNode, BrokerSettings, BrokerStatus, CancelResult, Joined, JoinOptions, Published, PublishOptions, Revocation, Stream
} from '../streams/broker.js'
import { errors } from '../util/errors.js'
import { checkRedis, type RedisTarget } from './client.js'
import { Member } from './member.js'

export interface RedisBrokerOptions {
  /**
   * Settings of a connection, such as `{ host, port }`, a `redis://` URL, or a client of `ioredis` or `iovalkey`. The broker copies
   * the client's settings and makes two connections of its own; it never uses the client itself.
   */
  readonly redis: RedisTarget
  /** Begins all keys and channels. Apps that share a Redis need different ones. @default 'aicw' */
  readonly prefix?: string
  /** A node that has not been heard of for so long counts as dead, and its jobs end as stalled, in milliseconds. @default 30_000 */
  readonly leaseMs?: number
}

const NAMES: readonly string[] = ['redis', 'prefix', 'leaseMs'] satisfies Array<keyof RedisBrokerOptions>
const DEFAULT_LEASE_MS = 30_000
const MIN_LEASE_MS = 300
/** Results whose recipients are remembered, for publications that are repeated. */
const MAX_RECIPIENTS = 256
/** How long a result waits until its message was delivered to this node's own subscribers, in milliseconds. */
const OWN_DELIVERY_MS = 1_000

/**
 * Returns a broker that connects the nodes of an app over Redis 7 or later. Pass it as the option `broker`.
 *
 * @throws `AICW_ERR_INVALID_OPTION` for an unknown name or an invalid value.
 */
export function redisBroker (options: RedisBrokerOptions): Broker {
  return new RedisBroker(options)
}

/** Returns the broker of a publisher. It does not pass its settings to workers in other languages, because the app's may differ. */
export function publisherBroker (options: RedisBrokerOptions): Broker {
  return new RedisBroker(options, true)
}

/** The broker of one node. Each publish and each join is one call of a function, so Redis decides the order. */
class RedisBroker implements Broker {
  readonly canLoseHistory = true
  readonly unsupported = ['history.maxTotalBytes', 'history.maxStreams']
  readonly #options: Required<RedisBrokerOptions>
  readonly #isPublisher: boolean
  readonly #recipients = new Map<number, number>()
  #member: Member | undefined
  #isClosed = false

  constructor (options: RedisBrokerOptions, isPublisher = false) {
    // JavaScript may pass nothing.
    const { redis, prefix = 'aicw', leaseMs = DEFAULT_LEASE_MS } = Object(options) as RedisBrokerOptions
    checkRedis(redis)
    const unknown = Object.keys(options).find((name) => !NAMES.includes(name))
    if (unknown !== undefined) throw new errors.InvalidOption(unknown, `is unknown: the options of redisBroker() are ${NAMES.join(', ')}. Settings of the connection belong in "redis"`)
    if (!/^[\w.-]{1,64}$/.test(prefix)) throw new errors.InvalidOption('prefix', 'must consist of 1 to 64 letters, digits, "_", "." and "-"')
    if (!Number.isSafeInteger(leaseMs) || leaseMs < MIN_LEASE_MS) throw new errors.InvalidOption('leaseMs', `must be an integer of at least ${MIN_LEASE_MS}`)
    this.#options = { redis, prefix, leaseMs }
    this.#isPublisher = isPublisher
  }

  async open (node: BrokerNode, settings: BrokerSettings): Promise<void> {
    // The functions of Redis take settings that are separated by spaces.
    const name = `${hostname().replaceAll(' ', '_')}-${process.pid}-${randomUUID().slice(0, 8)}`
    this.#member = await Member.open({ ...this.#options, isPublisher: this.#isPublisher, name, node, settings })
  }

  publish (stream: Stream, body: string, options: PublishOptions): Promise<Published> {
    return this.#use(async (member) => {
      const { published, revision } = await member.publish(stream, body, withShortForm(body, options))
      const recipients = published.dropped === undefined ? await this.#recipientsOf(member, stream, revision, options.counter) : 0
      return { ...published, recipients }
    })
  }

  join (stream: Stream, options: JoinOptions = {}): Promise<Joined> {
    return this.#use((member) => member.join(stream, options))
  }

  leave (stream: Stream): void {
    this.#member?.leave(stream)
  }

  currentJob (stream: Stream): Promise<string | undefined> {
    return this.#use((member) => member.read((store) => store.currentJob(stream)))
  }

  adopt (stream: Stream, jobId: string): Promise<boolean> {
    return this.#use((member) => member.read((store) => store.adopt(stream, jobId)))
  }

  release (stream: Stream, jobId: string): Promise<boolean> {
    return this.#use((member) => member.read((store) => store.release(stream, jobId)))
  }

  revoke (revocation: Revocation): Promise<void> {
    return this.#use((member) => member.revoke(revocation))
  }

  cancel (stream: Stream, jobId: string): Promise<CancelResult> {
    return this.#use((member) => member.cancel(stream, jobId))
  }

  ask (question: string): Promise<Answers> {
    return this.#use((member) => member.ask(question))
  }

  status (): BrokerStatus {
    return this.#member?.status ?? { state: 'unavailable', reason: 'the broker is not open' }
  }

  async close (): Promise<void> {
    this.#isClosed = true
    await this.#member?.close()
  }

  #use<T> (call: (member: Member) => Promise<T>): Promise<T> {
    if (this.#member === undefined || this.#isClosed) return Promise.reject(new Error(`the broker is ${this.#isClosed ? 'closed' : 'not open'}`))
    return call(this.#member)
  }

  /** Waits until this node has delivered its own message, and returns the number of recipients. */
  async #recipientsOf (member: Member, stream: Stream, revision: number, counter: number | undefined): Promise<number> {
    const known = counter === undefined ? undefined : this.#recipients.get(counter)
    if (known !== undefined) return known
    const recipients = await member.delivered(stream, revision, OWN_DELIVERY_MS)
    if (counter !== undefined) {
      this.#recipients.set(counter, recipients)
      for (const oldest of this.#recipients.keys()) {
        if (this.#recipients.size <= MAX_RECIPIENTS) break
        this.#recipients.delete(oldest)
      }
    }
    return recipients
  }
}

/** Bodies of more UTF-16 units may be replaced by their short forms. */
const SHORT_FORM_FROM_UNITS = 4_096

/** Makes the short form at once if it may be needed: the publish may have to wait, and must not call the app later. */
function withShortForm (body: string, { shortForm, ...options }: PublishOptions): PublishOptions {
  if (shortForm === undefined || body.length <= SHORT_FORM_FROM_UNITS) return options
  const message = shortForm()
  return { ...options, shortForm: () => message }
}
