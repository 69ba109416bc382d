import type { BrokerSettings } from '../../lib/streams/broker.js'
import type { Clock, Timer } from '../../lib/util/clock.js'
import { BusBroker } from './bus-broker.js'
import { BusMember, type Call, type Place, type Receiver } from './bus-member.js'
import { BusOperations } from './bus-operations.js'
import { Turns } from './bus-wire.js'

/** How long other calls wait for the nodes to publish their jobs again, in milliseconds. */
const RESEED_TIMEOUT_MS = 5_000

export interface BusOptions {
  /** Seed of the delays and losses. @default 1 */
  readonly seed?: number
  /** Probability that a publish rejects, before or after the store has executed it. @default 0 */
  readonly losses?: number
  /** Whether nodes deliver bodies in UTF-8, as if they came from a network. @default false */
  readonly asBytes?: boolean
}

/**
 * A store in this process that several nodes share, each through its own `BusBroker`. It works like a real one: a call is sent
 * to the store, which executes it in one step. The result and the publications are sent back. All delays are turns of the event
 * loop, and the timeouts use the clock of the settings.
 */
export class BusStore {
  readonly #options: BusOptions
  readonly #turns: Turns
  readonly #members = new Set<BusMember>()
  readonly #brokers = new Map<object, BusMember>()
  #opened: { readonly clock: Clock, readonly operations: BusOperations } | undefined
  #failNext: 'before' | 'after' | undefined
  #reseeds = 0
  #reseedTimer: Timer | undefined

  constructor (options: BusOptions = {}) {
    this.#options = options
    this.#turns = new Turns(options.seed ?? 1)
  }

  /** Returns the broker of a new node. */
  createBroker (): BusBroker {
    const member = new BusMember(`node-${this.#brokers.size + 1}`, this.#turns)
    const broker = new BusBroker(this, member, this.#options.asBytes ?? false)
    this.#brokers.set(broker, member)
    return broker
  }

  /** Makes the next publish reject, before or after the store has executed it. */
  failNext (when: 'before' | 'after'): void {
    this.#failNext = when
  }

  /** Loses everything, like a store that restarts empty. */
  lose (): void {
    this.#operations.history.lose()
    this.#announceLoss()
  }

  /** Loses the newest publications, as in a failover to a replica that lags behind. */
  loseTail (publications: number): void {
    this.#operations.history.loseTail(publications, [...this.#members].flatMap(({ joined }) => [...joined.keys()]))
    this.#operations.awaitOwners()
    this.#announceLoss()
  }

  /** Breaks a node's connection. Its calls reject, and all messages in transit to or from the node are lost. */
  disconnect (broker: object): void {
    const member = this.#memberOf(broker)
    if (!member.isLinked) return
    member.cut()
    this.#releaseHeld()
    this.#opened?.operations.control.membersChanged()
    member.receiver?.statusChanged({ state: 'unavailable', reason: 'the connection broke' })
  }

  /** Connects a node again. Resolves when it has received what it missed. */
  async reconnect (broker: object): Promise<void> {
    const member = this.#memberOf(broker)
    if (member.isLinked || !this.#members.has(member)) return
    member.isLinked = true
    const places = member.receiver?.places() ?? []
    await new Promise<void>((resolve) => {
      member.uplink.send(() => { this.#resynchronise(member, places, resolve) })
    })
  }

  /** Ends a node without closing its broker. Resolves when its jobs were sent to the other nodes. */
  async kill (broker: object): Promise<void> {
    const member = this.#memberOf(broker)
    member.receiver = undefined
    this.remove(member)
    await new Promise<void>((resolve) => { this.#turns.later(resolve) })
  }

  /** Suspends a node. Messages to and from the node wait until `resume` is called. */
  stall (broker: object): void {
    for (const wire of this.#memberOf(broker).wires) wire.stall()
  }

  resume (broker: object): void {
    for (const wire of this.#memberOf(broker).wires) wire.resume()
  }

  close (): void {
    for (const member of this.#members) this.remove(member)
    this.#reseedTimer?.cancel()
    this.#opened?.operations.history.close()
  }

  /** Adds a node. The settings of the first one apply to all. Returns the revision of the stream `all`. */
  add (member: BusMember, settings: BrokerSettings): number {
    this.#opened ??= { clock: settings.clock, operations: new BusOperations(this.#members, settings) }
    const { history, control } = this.#operations
    this.#members.add(member)
    member.isConnected = true
    member.controlled = control.length
    member.incarnation = history.incarnation
    member.joined.set('all', 0)
    control.reportOrphans()
    return history.join('all').revision
  }

  /** Removes a node that was closed or killed. */
  remove (member: BusMember): void {
    member.cut()
    this.#members.delete(member)
    for (const stream of [...member.joined.keys()]) this.#opened?.operations.end(member, stream)
    this.#releaseHeld()
    this.#opened?.operations.control.membersChanged()
  }

  get names (): string[] {
    return [...this.#members].map(({ name }) => name)
  }

  /** Sends a call to the store. The promise settles when its result has arrived. */
  call<T> (member: BusMember, kind: Call['kind'], execute: (operations: BusOperations) => T | Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const fails = kind === 'publish' || kind === 'repeated' ? this.#nextFailure() : undefined
      this.#send(member, {
        kind,
        fails,
        reject,
        execute: () => {
          const result = execute(this.#operations)
          const settle = (): void => { resolve(result) }
          return result instanceof Promise ? result.then(() => settle, () => settle) : settle
        }
      })
    })
  }

  #send (member: BusMember, call: Call): void {
    if (!member.isLinked) {
      call.reject(new Error('the store can\'t be reached'))
      return
    }
    member.calls.add(call)
    member.uplink.send(() => { this.#arrived(member, call) })
  }

  /** Executes a call that has arrived at the store, or holds it back. */
  #arrived (member: BusMember, call: Call): void {
    if (this.#mustWait(member, call)) member.held.push(call)
    else if (call.fails === 'before') this.#settle(member, call, () => { call.reject(new Error('the connection broke before the store executed the call')) })
    else void this.#execute(member, call)
  }

  #mustWait (member: BusMember, { kind }: Call): boolean {
    return kind === 'publish' ? member.isReseeding : kind === 'read' && [...this.#members].some(({ isReseeding }) => isReseeding)
  }

  async #execute (member: BusMember, call: Call): Promise<void> {
    const { history: { incarnation } } = this.#operations
    const executed = call.execute()
    const settle = executed instanceof Promise ? await executed : executed
    this.#settle(member, call, () => {
      // A result from before the loss does not describe the present state of the store.
      if (call.kind !== 'control' && incarnation < member.incarnation) this.#outdated(member, call)
      else if (call.fails === 'after') call.reject(new Error('the connection broke before the result arrived'))
      else settle()
    })
  }

  #outdated (member: BusMember, call: Call): void {
    if (call.kind === 'read') this.#send(member, call)
    else call.reject(new Error('the store has lost history, and perhaps this publication'))
  }

  #settle (member: BusMember, call: Call, settle: () => void): void {
    member.settle(call, settle)
  }

  #announceLoss (): void {
    for (const member of this.#members) {
      member.reseeding = ++this.#reseeds
      if (member.isConnected) this.#sendLoss(member)
    }
    this.#reseedTimer?.cancel()
    this.#reseedTimer = this.#opened?.clock.after(RESEED_TIMEOUT_MS, () => {
      for (const member of this.#members) member.reseeding = 0
      this.#releaseHeld()
    })
  }

  /** Makes a node restart its streams, if it does not know of the loss yet, and publish its jobs again. */
  #sendLoss (member: BusMember): void {
    const { incarnation } = this.#operations.history
    const { reseeding } = member
    member.post((receiver) => {
      if (member.incarnation !== incarnation) {
        member.incarnation = incarnation
        receiver.restartedAll()
      }
      // The jobs are published again in a later turn, because the node may not have handled a result yet that arrived in this turn.
      this.#turns.later(() => {
        if (member.receiver === receiver && member.reseeding === reseeding) void this.#reseed(member, receiver)
      })
    })
  }

  async #reseed (member: BusMember, receiver: Receiver): Promise<void> {
    const { reseeding } = member
    await receiver.reseed()
    if (!member.isLinked) return
    member.uplink.send(() => {
      if (member.reseeding === reseeding) member.reseeding = 0
      this.#releaseHeld()
    })
  }

  /** Executes the held calls that need not wait any longer. */
  #releaseHeld (): void {
    for (const member of this.#members) for (const call of member.held.splice(0)) this.#arrived(member, call)
  }

  /** Sends a node what it has missed since its connection broke. */
  #resynchronise (member: BusMember, places: readonly Place[], ready: () => void): void {
    const { history, control } = this.#operations
    member.isConnected = true
    control.sendRevocations(member, member.controlled)
    for (const stream of [...member.joined.keys()]) this.#operations.end(member, stream)
    for (const { stream, token } of places) this.#operations.join(member, stream, token, {})
    if (member.incarnation === history.incarnation) for (const place of places) this.#sendMissed(member, place)
    // The node may have lost its connection while it published its jobs again.
    if (member.reseeding > 0 || member.incarnation !== history.incarnation) {
      member.reseeding = ++this.#reseeds
      this.#sendLoss(member)
    }
    for (const notice of member.missed.splice(0)) member.downlink.send(notice, true)
    member.post((receiver) => {
      receiver.statusChanged({ state: 'ready' })
      ready()
    })
    control.reportOrphans()
  }

  #sendMissed (member: BusMember, { stream, token, revision }: Place): void {
    const { history } = this.#operations
    const { incarnation } = history
    // No join has returned yet, so nothing was missed.
    if (revision === undefined) return
    const missed = history.after(stream, revision)
    if (missed === undefined) member.post((receiver) => { receiver.restarted(stream) })
    for (const publication of missed ?? []) {
      member.post((receiver) => { if (incarnation === history.incarnation) receiver.deliver(stream, token, publication) })
    }
  }

  #nextFailure (): 'before' | 'after' | undefined {
    const forced = this.#failNext
    this.#failNext = undefined
    const { random } = this.#turns
    if (forced !== undefined || !random.chance(this.#options.losses ?? 0)) return forced
    return random.pick(['before', 'after'] as const)
  }

  #memberOf (broker: object): BusMember {
    const member = this.#brokers.get(broker)
    if (member === undefined) throw new Error('the broker is not one of this store')
    return member
  }

  get #operations (): BusOperations {
    if (this.#opened === undefined) throw new Error('no node is open')
    return this.#opened.operations
  }
}
