import type {
  Answers, Broker, BrokerNode, BrokerSettings, BrokerStatus, CancelResult, Joined, JoinOptions, Publication, Published, PublishOptions, Revocation, Stream
} from '../../lib/streams/broker.js'
import type { BusMember } from './bus-member.js'
import type { BusStore } from './bus-store.js'

/** A stream that a node has joined. */
interface Subscription {
  /** Distinguishes the subscription from an earlier one of the same stream. */
  readonly token: number
  /** The newest revision that was delivered or covered by a join. Undefined until a join has returned. */
  revision: number | undefined
  /** Whether a join has ever returned. */
  isJoined: boolean
}

/** The broker of one node of a `BusStore`. */
export class BusBroker implements Broker {
  readonly canLoseHistory = true
  readonly #store: BusStore
  readonly #member: BusMember
  readonly #asBytes: boolean
  readonly #subscriptions = new Map<Stream, Subscription>()
  #tokens = 0
  #status: BrokerStatus = { state: 'ready' }

  constructor (store: BusStore, member: BusMember, asBytes: boolean) {
    this.#store = store
    this.#member = member
    this.#asBytes = asBytes
  }

  async open (node: BrokerNode, settings: BrokerSettings): Promise<void> {
    const revision = await new Promise<number>((resolve) => {
      this.#member.uplink.send(() => {
        this.#receive(node)
        resolve(this.#store.add(this.#member, settings))
      })
    })
    this.#subscriptions.set('all', { token: 0, revision, isJoined: false })
  }

  async publish (stream: Stream, body: string, options: PublishOptions): Promise<Published> {
    const { shortForm } = options
    const message = shortForm === undefined ? undefined : shortForm()
    const sent = message === undefined ? options : { ...options, shortForm: () => message }
    const kind = options.job?.repeated === true ? 'repeated' : 'publish'
    return { ...await this.#store.call(this.#member, kind, (operations) => operations.publish(this.#member, stream, body, sent)) }
  }

  async join (stream: Stream, options: JoinOptions = {}): Promise<Joined> {
    let subscription = this.#subscriptions.get(stream)
    if (subscription === undefined) this.#subscriptions.set(stream, subscription = { token: ++this.#tokens, revision: undefined, isJoined: false })
    const { token } = subscription
    const joined = await this.#store.call(this.#member, 'read', (operations) => operations.join(this.#member, stream, token, options))
    subscription.revision = Math.max(subscription.revision ?? 0, joined.revision)
    subscription.isJoined = stream !== 'all'
    return joined
  }

  leave (stream: Stream): void {
    const subscription = this.#subscriptions.get(stream)
    if (subscription === undefined || stream === 'all') return
    this.#subscriptions.delete(stream)
    this.#store.call(this.#member, 'read', (operations) => { operations.leave(this.#member, stream, subscription.token) }).catch(() => {
      // The node is disconnected. When it reconnects, it sends the streams that it has joined.
    })
  }

  currentJob (stream: Stream): Promise<string | undefined> {
    return this.#store.call(this.#member, 'read', (operations) => operations.currentJob(stream))
  }

  adopt (stream: Stream, jobId: string): Promise<boolean> {
    return this.#store.call(this.#member, 'read', (operations) => operations.adopt(this.#member, stream, jobId))
  }

  release (stream: Stream, jobId: string): Promise<boolean> {
    return this.#store.call(this.#member, 'read', (operations) => operations.release(this.#member, stream, jobId))
  }

  revoke (revocation: Revocation): Promise<void> {
    return this.#store.call(this.#member, 'control', (operations) => operations.revoke(revocation))
  }

  cancel (stream: Stream, jobId: string): Promise<CancelResult> {
    return this.#store.call(this.#member, 'control', (operations) => operations.cancel(this.#member, stream, jobId))
  }

  async ask (question: string): Promise<Answers> {
    const { name, receiver } = this.#member
    const own = { node: name, answer: receiver?.answer(question) ?? '' }
    return await this.#store.call(this.#member, 'control', (operations) => operations.control.ask(question, own))
      .catch(() => ({ answers: [own], missing: this.#store.names.filter((node) => node !== name) }))
  }

  status (): BrokerStatus {
    return this.#status
  }

  /** Stops all deliveries. The calls that were made before are still executed. */
  async close (): Promise<void> {
    this.#member.receiver = undefined
    await this.#store.call(this.#member, 'control', () => undefined).catch(() => undefined)
    this.#store.remove(this.#member)
  }

  #receive (node: BrokerNode): void {
    this.#member.receiver = {
      orphaned: (stream, jobId, ownership) => { node.orphaned(stream, jobId, ownership) },
      disowned: (stream, jobId) => { node.disowned(stream, jobId) },
      revoke: (revocation) => { node.revoke(revocation) },
      cancel: (stream, jobId) => node.cancel(stream, jobId),
      answer: (question) => node.answer(question),
      deliver: (stream, token, publication) => {
        const subscription = this.#subscriptions.get(stream)
        if (subscription?.token !== token) return 0
        subscription.revision = publication.revision
        return node.deliver(stream, this.#copyOf(publication))
      },
      restarted: (stream) => { this.#restart(node, stream) },
      restartedAll: () => { for (const stream of this.#subscriptions.keys()) this.#restart(node, stream) },
      reseed: async () => { await node.reseed() },
      statusChanged: (status) => {
        this.#status = status
        node.statusChanged(status)
      },
      places: () => [...this.#subscriptions].map(([stream, { token, revision }]) => ({ stream, token, revision }))
    }
  }

  #restart (node: BrokerNode, stream: Stream): void {
    const subscription = this.#subscriptions.get(stream)
    if (subscription === undefined) return
    subscription.revision = stream === 'all' ? 0 : undefined
    if (subscription.isJoined) node.restarted(stream)
  }

  /** Returns a copy for this node, because the node's delivery layer stores a frame in the publication. */
  #copyOf (publication: Publication): Publication {
    return { ...publication, ...(this.#asBytes && typeof publication.body === 'string' && { body: Buffer.from(publication.body) }) }
  }
}
