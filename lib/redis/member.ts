import type {
  Answers, BrokerNode, BrokerSettings, BrokerStatus, CancelResult, Joined, JoinOptions, PublishOptions, Revocation, Stream
} from '../streams/broker.js'
import type { Timer } from '../util/clock.js'
import { clientFactory, type RedisTarget } from './client.js'
import { Control } from './control.js'
import { parseFrame } from './frame.js'
import { messageOf, OutdatedError } from './functions.js'
import { Gate, type CallKind } from './gate.js'
import { Keys } from './keys.js'
import { Link } from './link.js'
import { Orphans } from './orphans.js'
import { checkServer } from './preconditions.js'
import type { StoredResult } from './publish-queue.js'
import { EMPTY_TTL_MS, Store } from './store.js'
import { Subscriptions } from './subscriptions.js'

export interface MemberOptions {
  readonly redis: RedisTarget
  readonly prefix: string
  readonly leaseMs: number
  readonly name: string
  readonly node: BrokerNode
  readonly settings: BrokerSettings
}

/** How long a join waits until what it covers is delivered, in milliseconds. */
const BARRIER_MS = 5_000
/** How long other calls wait for the nodes to publish their jobs again, in milliseconds, and how often they are counted. */
const SETTLE_MS = 5_000
const SETTLE_CHECK_MS = 100
/** How often a call is repeated that was not executed because the store has lost history. */
const MAX_ATTEMPTS = 5
const MAX_TOUCHED = 1_000
const CLOSE_MS = 1_000

/**
 * This node as one of those that share a Redis. It has two connections: one for commands and one for subscriptions. After each
 * loss of a connection it *synchronises*: it checks whether the store has lost history, reads the revocations that it missed,
 * subscribes again, and delivers what it missed of each stream.
 */
export class Member {
  readonly #options: MemberOptions
  readonly #keys: Keys
  readonly #commands: Link
  readonly #subscriber: Link
  readonly #store: Store
  readonly #control: Control
  readonly #orphans: Orphans
  readonly #subscriptions: Subscriptions
  readonly #gate = new Gate()
  /** The other living nodes. */
  #peers = new Set<string>()
  #status: BrokerStatus = { state: 'unavailable', reason: 'it is not connected yet' }
  #isOpen = false
  #isClosed = false
  #isSynchronised = false
  #isSettled = true
  /** Numbers of the latest synchronisation and of the latest loss of history. */
  #attempt = 0
  #loss = 0
  /** Number of the synchronisation that is under way, and whether it includes the subscriptions. 0 if there is none. */
  #syncing = 0
  #syncsSubscriber = false
  /** Number of the loss after which this node publishes its jobs again. 0 if there is none. */
  #reseeding = 0
  #leasedAt = 0
  /** Messages that wait because this node's lease has expired. */
  #overdue: Array<readonly [channel: string, message: Buffer]> | undefined
  #beat: Timer | undefined
  #seeded: () => void = () => undefined

  static async open (options: MemberOptions): Promise<Member> {
    const member = new Member(options, await clientFactory(options.redis))
    try {
      await member.#open()
    } catch (error) {
      await member.close()
      throw error
    }
    return member
  }

  private constructor (options: MemberOptions, createClient: () => ReturnType<Awaited<ReturnType<typeof clientFactory>>>) {
    this.#options = options
    const { name, node, settings: { clock, log, maxTextUnits }, prefix } = options
    const keys = this.#keys = new Keys(prefix)
    const onDown = (reason: string): void => { this.#handleDown(reason) }
    const onUp = (): void => { if (this.#isOpen) this.#synchronise() }
    this.#commands = new Link({ clock, createClient, onUp, onDown })
    this.#subscriber = new Link({
      clock, createClient, onUp, onDown, onMessage: (channel, message) => { this.#receive(channel.toString(), message) }
    })
    const store = this.#store = new Store(this.#commands, keys, name, options.settings)
    this.#control = new Control({
      name, node, store, keys, clock, log,
      onPeer: (peer) => { if (peer !== name) this.#peers.add(peer) },
      onLost: () => { this.#synchronise() },
      onSeeded: () => { this.#seeded() }
    })
    this.#orphans = new Orphans(node, store)
    this.#subscriptions = new Subscriptions({
      link: this.#subscriber, store, keys, node, clock, maxTextUnits,
      onOutdated: () => { this.#synchronise() },
      onFailure: (error) => {
        log.warn({ err: error }, 'a stream could not be synchronised: the broker subscribes again')
        this.#subscriber.reset('a stream could not be synchronised')
      }
    })
  }

  get status (): BrokerStatus {
    return this.#status
  }

  async publish (stream: Stream, body: string, options: PublishOptions): Promise<StoredResult> {
    const publish = (): Promise<StoredResult> => this.#store.publish(stream, body, options)
    // What `reseed` publishes is what the others wait for.
    return options.job?.repeated === true ? publish() : this.#run('publish', publish)
  }

  /** Returns the number of this node's recipients, once it has delivered the message. */
  async delivered (stream: Stream, revision: number, timeoutMs: number): Promise<number> {
    const subscription = this.#subscriptions.get(stream)
    if (subscription === undefined || !this.#subscriber.isUp) return 0
    if (subscription.isJoined) await subscription.reached(revision, timeoutMs)
    return subscription.recipients
  }

  read<T> (call: (store: Store) => Promise<T>): Promise<T> {
    return this.#run('read', () => call(this.#store))
  }

  async join (stream: Stream, { since, have }: JoinOptions): Promise<Joined> {
    const subscription = this.#subscriptions.follow(stream)
    for (let attempt = 1; attempt <= MAX_ATTEMPTS; attempt++) {
      const joined = await this.#run('read', async () => {
        await this.#subscriptions.confirm(subscription)
        return this.#store.join(stream, since, have)
      })
      // It was left in the meantime.
      if (this.#subscriptions.get(stream) !== subscription) return joined
      if (subscription.joined(joined) || await subscription.reached(joined.revision, BARRIER_MS)) return joined
    }
    throw new Error('the messages that a join covers did not arrive: Redis or this node is overloaded')
  }

  leave (stream: Stream): void {
    this.#subscriptions.leave(stream)
  }

  revoke (revocation: Revocation): Promise<void> {
    return this.#control.revoke(revocation)
  }

  async cancel (stream: Stream, jobId: string): Promise<CancelResult> {
    const { name, node } = this.#options
    const owner = await this.read((store) => store.ownerOf(stream, jobId))
    if (owner === undefined || owner === name) return node.cancel(stream, jobId)
    await this.#renewLease()
    return this.#peers.has(owner) ? this.#control.cancel(owner, stream, jobId) : node.cancel(stream, jobId)
  }

  async ask (question: string): Promise<Answers> {
    // Without a connection, the nodes that were living before it was lost are missing.
    await this.#renewLease().catch(() => undefined)
    return this.#control.ask(question, [...this.#peers])
  }

  async close (): Promise<void> {
    this.#isClosed = true
    this.#beat?.cancel()
    this.#attempt++
    this.#subscriber.close()
    this.#subscriptions.close()
    this.#gate.fail(new Error('the broker is closed'))
    if (this.#commands.isUp) {
      // Its remaining jobs are orphaned at once.
      const ended = this.#store.lease(0).catch(() => undefined)
      await Promise.race([ended, new Promise<void>((resolve) => { this.#options.settings.clock.after(CLOSE_MS, resolve) })])
    }
    this.#commands.close()
  }

  async #open (): Promise<void> {
    await Promise.all([this.#commands.open(), this.#subscriber.open()])
    await checkServer(this.#store, this.#options.settings.log)
    await this.#store.greet()
    await this.#control.start()
    await this.#renewLease()
    this.#isOpen = true
    await this.#subscribe()
    this.#isSynchronised = true
    this.#setStatus({ state: 'ready' })
    this.#beatLater()
  }

  /** Runs a call when it may. If the store has lost history, the call was not executed, and is repeated after the loss is handled. */
  #run<T> (kind: CallKind, call: () => Promise<T>, attempts = 1): Promise<T> {
    if (this.#gate.isClosed(kind)) return this.#gate.pass(kind, () => this.#run(kind, call, attempts))
    return call().catch((error: unknown) => {
      if (!(error instanceof OutdatedError) || attempts >= MAX_ATTEMPTS || this.#isClosed) throw error
      this.#synchronise()
      return this.#run(kind, call, attempts + 1)
    })
  }

  /** Begins a synchronisation, unless one is under way on the same connections. */
  #synchronise (): void {
    if (this.#isClosed || !this.#commands.isUp) return
    if (this.#syncing === this.#attempt && this.#syncing > 0 && this.#syncsSubscriber === this.#subscriber.isUp) return
    const attempt = this.#syncing = ++this.#attempt
    this.#syncsSubscriber = this.#subscriber.isUp
    this.#isSynchronised = false
    this.#gate.close('publish')
    this.#gate.close('read')
    this.#runSynchronisation(attempt).catch((error: unknown) => {
      if (attempt !== this.#attempt || this.#isClosed) return
      this.#options.settings.log.warn({ err: error }, 'the broker could not synchronise with Redis: it reconnects')
      this.#syncing = 0
      this.#commands.reset(messageOf(error))
    })
  }

  async #runSynchronisation (attempt: number): Promise<void> {
    const isCurrent = (): boolean => attempt === this.#attempt && !this.#isClosed
    const peers = new Set(this.#peers)
    const isLost = await this.#store.greet()
    if (isLost) this.#handleLoss(peers)
    await this.#renewLease()
    await this.#control.catchUp()
    if (isLost) await Promise.all([this.#control.rewrite(), this.#control.tell({ type: 'lost' })])
    if (!isCurrent()) return
    if (this.#reseeding === 0) this.#gate.open('publish')
    if (this.#subscriber.isUp) {
      await this.#subscribe()
      if (!isCurrent()) return
      this.#isSynchronised = true
      this.#setStatus({ state: 'ready' })
      this.#openReads()
    } else {
      this.#setStatus({ state: 'degraded', reason: 'the connection for subscriptions is lost: messages of other nodes are not delivered' })
    }
    this.#syncing = 0
  }

  /** Subscribes to everything, and delivers what was missed. */
  async #subscribe (): Promise<void> {
    await this.#subscriber.call('subscribe', [this.#keys.control, this.#keys.node(this.#options.name)])
    await this.#control.introduce()
    // Before anything else is delivered.
    await this.#control.catchUp()
    await this.#subscriptions.synchronise()
  }

  /** Tells the node that the store has lost history, and lets it publish its jobs again. */
  #handleLoss (peers: ReadonlySet<string>): void {
    const { node, settings: { log } } = this.#options
    const loss = this.#reseeding = ++this.#loss
    this.#isSettled = false
    log.warn({}, 'Redis has lost history: the streams begin anew, and the nodes publish their jobs again')
    this.#subscriptions.restart()
    void (async () => {
      if (this.#subscriber.isUp) await this.#subscriptions.rebase().catch((err: unknown) => { log.warn({ err }, 'the streams are not continued yet') })
      await node.reseed()
      if (loss !== this.#loss || this.#isClosed) return
      this.#reseeding = 0
      this.#gate.open('publish')
      await this.#settle(peers).catch((err: unknown) => { log.warn({ err }, 'the state of the other nodes is unknown') })
      if (loss !== this.#loss) return
      this.#isSettled = true
      this.#openReads()
    })()
  }

  /** Waits until the other nodes have published their jobs again. */
  async #settle (peers: ReadonlySet<string>): Promise<void> {
    const { clock } = this.#options.settings
    await this.#store.seeded()
    await this.#control.tell({ type: 'seeded' })
    const endsAt = clock.monotonic() + SETTLE_MS
    while (clock.monotonic() < endsAt && !this.#isClosed) {
      const seeded = new Set(await this.#store.seededNodes())
      if ([...peers].every((peer) => seeded.has(peer))) return
      await new Promise<void>((resolve) => {
        const timer = clock.after(SETTLE_CHECK_MS, resolve)
        this.#seeded = () => {
          timer.cancel()
          resolve()
        }
      })
    }
  }

  #openReads (): void {
    if (this.#isSynchronised && this.#isSettled) this.#gate.open('read')
  }

  #handleDown (reason: string): void {
    if (this.#isClosed) return
    this.#attempt++
    this.#syncing = 0
    this.#isSynchronised = false
    if (!this.#subscriber.isUp) this.#subscriptions.suspend()
    this.#gate.close('read')
    if (!this.#commands.isUp) {
      this.#gate.open('publish')
      this.#gate.fail(new Error(`Redis can't be reached: ${reason}`))
      this.#setStatus({ state: 'unavailable', reason })
    } else {
      this.#setStatus({ state: 'degraded', reason: `the connection for subscriptions is lost: ${reason}` })
      if (this.#isOpen) this.#synchronise()
    }
  }

  #setStatus (status: BrokerStatus): void {
    const isNew = status.state !== this.#status.state
    this.#status = status
    if (isNew && !this.#isClosed && this.#isOpen) this.#options.node.statusChanged(status)
  }

  #receive (channel: string, message: Buffer): void {
    if (this.#isClosed) return
    const { settings: { clock }, leaseMs } = this.#options
    if (this.#overdue !== undefined) {
      this.#overdue.push([channel, message])
    } else if (clock.monotonic() - this.#leasedAt > leaseMs) {
      this.#overdue = [[channel, message]]
      void this.#handleExpiredLease()
    } else {
      this.#handle(channel, message)
    }
  }

  #handle (channel: string, message: Buffer): void {
    const subscription = this.#subscriptions.ofChannel(channel)
    if (subscription !== undefined) subscription.receive(parseFrame(message))
    else if (channel.startsWith(`${this.#keys.prefix}{ctl}`)) this.#control.receive(message.toString())
  }

  /** The others counted this node as dead, and did not wait for it. It reads what it missed before it delivers anything. */
  async #handleExpiredLease (): Promise<void> {
    try {
      await this.#renewLease()
      await this.#control.catchUp()
    } catch (error) {
      this.#overdue = undefined
      this.#subscriber.reset(`the lease could not be renewed: ${messageOf(error)}`)
      return
    }
    const overdue = this.#overdue ?? []
    this.#overdue = undefined
    for (const [channel, message] of overdue) this.#handle(channel, message)
  }

  async #renewLease (): Promise<Awaited<ReturnType<Store['lease']>>> {
    const { name, leaseMs, settings: { clock } } = this.#options
    const startedAt = clock.monotonic()
    const lease = await this.#store.lease(leaseMs)
    this.#leasedAt = startedAt
    this.#peers = new Set(lease.living.filter((living) => living !== name))
    return lease
  }

  #beatLater (): void {
    const { settings: { clock }, leaseMs } = this.#options
    this.#beat = clock.after(leaseMs / 3, () => {
      void this.#beatNow().finally(() => { if (!this.#isClosed) this.#beatLater() })
    })
  }

  async #beatNow (): Promise<void> {
    if (!this.#commands.isUp) return
    const { settings: { clock } } = this.#options
    try {
      const { expired, isChecker } = await this.#renewLease()
      if (isChecker && this.#isSynchronised) await this.#orphans.check(expired)
      await this.#store.touch(this.#subscriptions.takeUntouched(clock.monotonic() - EMPTY_TTL_MS / 3, MAX_TOUCHED))
    } catch (error) {
      if (this.#isClosed) return
      if (error instanceof OutdatedError) this.#synchronise()
      else this.#commands.reset(`the lease of this node could not be renewed: ${messageOf(error)}`)
    }
    // A connection that is silently broken would deliver nothing for ever.
    if (this.#subscriber.isUp) await this.#subscriber.call('ping', []).catch((error: unknown) => { this.#subscriber.reset(messageOf(error)) })
  }
}
