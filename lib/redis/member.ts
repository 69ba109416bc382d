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
import { Link, NotSentError } from './link.js'
import { NodeLease } from './node-lease.js'
import { Orphans } from './orphans.js'
import { checkServer } from './preconditions.js'
import type { StoredResult } from './publish-queue.js'
import { EMPTY_TTL_MS, Store } from './store.js'
import { Subscriptions } from './subscriptions.js'
import { Turns } from './turns.js'

export interface MemberOptions {
  readonly redis: RedisTarget
  readonly prefix: string
  readonly leaseMs: number
  readonly name: string
  readonly node: BrokerNode
  readonly settings: BrokerSettings
  /** Whether this is a publisher. Workers in other languages do not get its settings, because the app's may differ. */
  readonly isPublisher: boolean
}

/** How long a join waits until what it covers is delivered, in milliseconds. */
const BARRIER_MS = 5_000
/** How long other calls wait for the nodes to publish their jobs again, in milliseconds, and how often they are counted. */
const SETTLE_MS = 5_000
const SETTLE_CHECK_MS = 100
/** How long a call of the app may take, in milliseconds, and a join. */
const CALL_MS = 5_000
const JOIN_MS = 15_000
/** Joins that are under way at once: the reply to the last of many must not come after the deadline of a command. */
const MAX_JOINS = 500
/** How often a call is repeated that was not executed because the store has lost history. */
const MAX_ATTEMPTS = 5
const MAX_TOUCHED = 1_000
const CLOSE_MS = 1_000
/** A status other than ready is reported after this delay, so that an outage of both connections is reported once, in milliseconds. */
const REPORT_AFTER_MS = 250

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
  readonly #lease: NodeLease
  readonly #subscriptions: Subscriptions
  readonly #gate: Gate
  readonly #joins = new Turns(MAX_JOINS)
  #status: BrokerStatus = { state: 'unavailable', reason: 'it is not connected yet' }
  /** The latest state that was reported, and the report that is due. */
  #reported: BrokerStatus['state'] | undefined
  #report: Timer | undefined
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
  /** Whether a job could not be published again. The next synchronisation tries again. */
  #mustReseed = false
  /** Whether this node's own messages do not come back in time. */
  #isLate = false
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
    const { name, node, settings: { clock, log, maxTextUnits }, prefix, leaseMs } = options
    this.#gate = new Gate(clock)
    const keys = this.#keys = new Keys(prefix)
    const onDown = (reason: string): void => { this.#handleDown(reason) }
    const onUp = (other: Link): void => {
      if (!this.#isOpen) return
      other.hurry()
      this.#synchronise()
    }
    this.#commands = new Link({ clock, createClient, onUp: () => { onUp(this.#subscriber) }, onDown })
    this.#subscriber = new Link({
      clock, createClient, onUp: () => { onUp(this.#commands) }, onDown, onMessage: (channel, message) => { this.#receive(channel.toString(), message) }
    })
    const store = this.#store = new Store(this.#commands, keys, name, options.settings, options.isPublisher)
    this.#control = new Control({
      name, node, store, keys, clock, log,
      onPeer: (peer) => { this.#lease.addPeer(peer) },
      onLost: () => { this.#synchronise() },
      onSeeded: () => { this.#seeded() }
    })
    this.#orphans = new Orphans(node, store)
    this.#lease = new NodeLease({
      name, leaseMs, clock, store,
      catchUp: () => this.#control.catchUp(),
      handle: (channel, message) => { this.#handle(channel, message) },
      onDropped: (reason) => { this.#subscriber.reset(reason) }
    })
    this.#subscriptions = new Subscriptions({
      link: this.#subscriber, store, keys, node, clock, maxTextUnits, log,
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
    if (options.job?.repeated === true) {
      return publish().catch((error: unknown) => {
        this.#mustReseed = true
        throw error
      })
    }
    // In an outage, the clients of this node get progress at once, and ends are published again. Other messages wait a little.
    const event = options.job?.event ?? 'start'
    return this.#run(event === 'start' ? 'send' : 'publish', publish, CALL_MS, body.length)
  }

  /**
   * Returns the number of this node's recipients, once it has delivered the message. If its messages do not come back in time, only
   * one of them waits for that.
   */
  async delivered (stream: Stream, revision: number, timeoutMs: number): Promise<number> {
    const subscription = this.#subscriptions.get(stream)
    if (subscription === undefined || !this.#subscriber.isUp) return 0
    if (!subscription.isJoined || subscription.isWaiting || this.#isLate) return subscription.recipients
    if (!await subscription.reached(revision, timeoutMs) && this.#isSynchronised) this.#noteLate()
    return subscription.recipients
  }

  #noteLate (): void {
    this.#isLate = true
    void this.#checkSubscriber()
  }

  read<T> (call: (store: Store) => Promise<T>): Promise<T> {
    return this.#run('read', () => call(this.#store))
  }

  async join (stream: Stream, { since, have }: JoinOptions): Promise<Joined> {
    const { clock } = this.#options.settings
    const subscription = this.#subscriptions.follow(stream)
    const endsAt = clock.monotonic() + JOIN_MS
    for (let attempt = 1; attempt <= MAX_ATTEMPTS && clock.monotonic() < endsAt; attempt++) {
      const joined = await this.#run('read', () => this.#joins.run(async () => {
        // It may have been left while it waited for its turn.
        if (this.#subscriptions.get(stream) === subscription) await this.#subscriptions.confirm(subscription)
        return this.#store.join(stream, since, have)
      }), endsAt - clock.monotonic())
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
    await this.#lease.renew()
    return this.#lease.peers.has(owner) ? this.#control.cancel(owner, stream, jobId) : node.cancel(stream, jobId)
  }

  async ask (question: string): Promise<Answers> {
    // Without a connection, the nodes that were living before it was lost are missing.
    await this.#lease.renew().catch(() => undefined)
    return this.#control.ask(question, [...this.#lease.peers])
  }

  async close (): Promise<void> {
    this.#isClosed = true
    this.#beat?.cancel()
    this.#report?.cancel()
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
    await this.#lease.renew()
    this.#isOpen = true
    await this.#subscribe()
    this.#isSynchronised = true
    this.#setStatus({ state: 'ready' })
    // A connection may have been lost and made again since the first step.
    this.#openPublishes()
    this.#openReads()
    this.#beatLater()
  }

  /**
   * Runs a call when it may. If the store has lost history, the call was not executed, and is repeated after the loss is handled.
   *
   * @param timeoutMs How long the call may wait before it is executed.
   * @param units Length of its arguments.
   */
  #run<T> (kind: CallKind, call: () => Promise<T>, timeoutMs = CALL_MS, units = 0, attempts = 1): Promise<T> {
    const { clock } = this.#options.settings
    const startedAt = clock.monotonic()
    const again = (next: number): Promise<T> => this.#run(kind, call, timeoutMs - (clock.monotonic() - startedAt), units, next)
    if (this.#gate.isClosed(kind)) {
      const unreachable = (): string => `Redis can't be reached: ${this.#status.reason}`
      if (kind !== 'send' && !this.#commands.isUp) return Promise.reject(new Error(unreachable()))
      const reason = (): string => `Redis can't be reached, or this node could not synchronise with it, within ${Math.ceil(timeoutMs)} ms`
      return this.#gate.pass(kind, { timeoutMs, units, reason }, () => again(attempts))
    }
    return call().catch((error: unknown) => {
      const isRepeated = error instanceof OutdatedError || (error instanceof NotSentError && kind === 'send')
      if (!isRepeated || attempts >= MAX_ATTEMPTS || this.#isClosed) throw error
      this.#synchronise()
      return again(attempts + 1)
    })
  }

  /** Begins a synchronisation, unless one is under way on the same connections. */
  #synchronise (): void {
    if (this.#isClosed || !this.#commands.isUp) return
    if (this.#syncing === this.#attempt && this.#syncing > 0 && this.#syncsSubscriber === this.#subscriber.isUp) return
    const attempt = this.#syncing = ++this.#attempt
    this.#syncsSubscriber = this.#subscriber.isUp
    this.#isSynchronised = false
    for (const kind of ['publish', 'send', 'read'] as const) this.#gate.close(kind)
    this.#runSynchronisation(attempt).catch((error: unknown) => {
      if (attempt !== this.#attempt || this.#isClosed) return
      this.#options.settings.log.debug({ err: error }, 'the broker could not synchronise with Redis: it reconnects')
      this.#commands.reset(messageOf(error))
    })
  }

  async #runSynchronisation (attempt: number): Promise<void> {
    const isCurrent = (): boolean => attempt === this.#attempt && !this.#isClosed
    const peers = new Set(this.#lease.peers)
    const isLost = await this.#store.greet() || this.#mustReseed
    if (isLost) this.#handleLoss(peers)
    await this.#lease.renew()
    await this.#control.rewrite(isLost)
    await this.#control.catchUp()
    if (isLost) await this.#control.tell({ type: 'lost' })
    if (isCurrent()) {
      this.#commands.confirm()
      if (this.#reseeding === 0) this.#openPublishes()
      if (this.#subscriber.isUp) await this.#subscribe()
      else this.#setStatus({ state: 'degraded', reason: 'the connection for subscriptions is lost: messages of other nodes are not delivered' })
    }
    // A loss of either connection, or a new one, begins another synchronisation.
    if (isCurrent()) this.#finishSynchronisation()
  }

  #finishSynchronisation (): void {
    if (this.#subscriber.isUp) {
      this.#subscriber.confirm()
      this.#isSynchronised = true
      this.#isLate = false
      this.#setStatus({ state: 'ready' })
      this.#openReads()
    }
    this.#syncing = 0
  }

  /** Subscribes to everything, and delivers what was missed. */
  async #subscribe (): Promise<void> {
    await this.#subscriber.call('subscribe', [this.#keys.control, this.#keys.node(this.#options.name)])
    // After a failover, one connection may still be with the earlier primary. Nobody knows which one.
    await this.#control.checkSubscription().catch((error: unknown) => {
      for (const link of [this.#commands, this.#subscriber]) link.reset(messageOf(error))
      throw error
    })
    await this.#control.introduce()
    // Before anything else is delivered.
    await this.#control.catchUp()
    await this.#subscriptions.synchronise()
  }

  /** Tells the node that the store has lost history, and lets it publish its jobs again. */
  #handleLoss (peers: ReadonlySet<string>): void {
    const { node, settings: { log } } = this.#options
    const loss = this.#reseeding = ++this.#loss
    this.#mustReseed = false
    this.#isSettled = false
    log.warn({}, 'Redis has lost history: the streams begin anew, and the nodes publish their jobs again')
    this.#subscriptions.restart()
    void (async () => {
      if (this.#subscriber.isUp) await this.#subscriptions.rebase().catch((err: unknown) => { log.warn({ err }, 'the streams are not continued yet') })
      await node.reseed()
      // History may be lost again meanwhile.
      const isCurrent = (): boolean => loss === this.#loss && !this.#isClosed
      if (isCurrent()) {
        this.#reseeding = 0
        this.#openPublishes()
        await this.#settle(peers).catch((err: unknown) => { log.warn({ err }, 'the state of the other nodes is unknown') })
      }
      if (isCurrent()) {
        this.#isSettled = true
        this.#openReads()
      }
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

  #openPublishes (): void {
    if (this.#commands.isUp) this.#gate.open('publish', 'send')
    else this.#gate.open('publish')
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
    this.#lease.drop()
    if (!this.#commands.isUp) {
      this.#gate.close('send')
      this.#gate.open('publish')
      this.#gate.fail(new Error(`Redis can't be reached: ${reason}`), 'send')
      this.#setStatus({ state: 'unavailable', reason })
    } else {
      this.#setStatus({ state: 'degraded', reason: `the connection for subscriptions is lost: ${reason}` })
      if (this.#isOpen) this.#synchronise()
    }
  }

  #setStatus (status: BrokerStatus): void {
    const isNew = status.state !== this.#status.state
    this.#status = status
    if (!isNew || !this.#isOpen) return
    if (status.state === 'ready') this.#reportStatus()
    else this.#report ??= this.#options.settings.clock.after(REPORT_AFTER_MS, () => { this.#reportStatus() })
  }

  #reportStatus (): void {
    this.#report?.cancel()
    this.#report = undefined
    if (this.#isClosed || this.#status.state === this.#reported) return
    this.#reported = this.#status.state
    this.#options.node.statusChanged(this.#status)
  }

  #receive (channel: string, message: Buffer): void {
    this.#isLate = false
    this.#lease.receive(channel, message)
  }

  /** Handles a message. One that can't be read, such as of another program, must not end the process. */
  #handle (channel: string, message: Buffer): void {
    try {
      const subscription = this.#subscriptions.ofChannel(channel)
      if (subscription !== undefined) subscription.receive(parseFrame(message))
      else if (channel.startsWith(`${this.#keys.prefix}{ctl}`)) this.#control.receive(message.toString())
    } catch (err) {
      this.#options.settings.log.error({ err, channel }, 'a message of another node could not be handled')
    }
  }

  #beatLater (): void {
    const { settings: { clock }, leaseMs } = this.#options
    this.#beat = clock.after(leaseMs / 3, () => {
      void this.#beatNow().finally(() => { if (!this.#isClosed) this.#beatLater() })
    })
  }

  async #beatNow (): Promise<void> {
    if (!this.#commands.isUp) return
    const { clock } = this.#options.settings
    void this.#checkSubscriber()
    try {
      const { expired, isChecker } = await this.#lease.renew()
      if (isChecker && this.#lease.isSteady && this.#isSettled) await this.#orphans.check(expired)
      await this.#store.touch(this.#subscriptions.takeUntouched(clock.monotonic() - EMPTY_TTL_MS / 3, MAX_TOUCHED))
    } catch (error) {
      if (error instanceof OutdatedError) this.#synchronise()
      else this.#commands.reset(`the lease of this node could not be renewed: ${messageOf(error)}`)
    }
  }

  /** Finds out whether the subscriptions still work. A connection that is silently broken would deliver nothing for ever. */
  async #checkSubscriber (): Promise<void> {
    if (!this.#isSynchronised) return
    await Promise.all([this.#subscriber.call('ping', []), this.#control.checkSubscription()]).catch((error: unknown) => {
      this.#subscriber.reset(messageOf(error))
    })
  }
}
