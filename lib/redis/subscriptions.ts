import type { BrokerNode, Joined, Stream } from '../streams/broker.js'
import type { Clock } from '../util/clock.js'
import type { Logger } from '../util/logger.js'
import { ForeignKeyError, OutdatedError } from './functions.js'
import type { Keys } from './keys.js'
import type { Link } from './link.js'
import type { Store } from './store.js'
import { Subscription, type SubscriptionEvents } from './subscription.js'

export interface SubscriptionsOptions {
  readonly link: Link
  readonly store: Store
  readonly keys: Keys
  readonly node: BrokerNode
  readonly clock: Clock
  readonly maxTextUnits: number
  readonly log: Logger
  /** Called when the store may have lost history. */
  readonly onOutdated: () => void
  /** Called when a stream can't be read. */
  readonly onFailure: (error: unknown) => void
}

/** Channels that are subscribed with one command, and streams that are synchronised at once. */
const BATCH = 200

/** The streams that this node follows: those that it has joined, and the one for everyone. */
export class Subscriptions {
  readonly #options: SubscriptionsOptions
  readonly #byStream = new Map<Stream, Subscription>()
  readonly #byChannel = new Map<string, Subscription>()
  readonly #events: SubscriptionEvents

  constructor (options: SubscriptionsOptions) {
    this.#options = options
    this.#events = {
      deliver: (stream, publication) => options.node.deliver(stream, publication),
      onGap: (subscription) => { void this.#resynchronise(subscription) },
      onNewEpoch: (subscription, epoch) => { this.#handleEpoch(subscription, epoch) }
    }
    this.follow('all')
  }

  get (stream: Stream): Subscription | undefined {
    return this.#byStream.get(stream)
  }

  ofChannel (channel: string): Subscription | undefined {
    return this.#byChannel.get(channel)
  }

  follow (stream: Stream): Subscription {
    const known = this.#byStream.get(stream)
    if (known !== undefined) return known
    const { keys, clock, maxTextUnits } = this.#options
    const subscription = new Subscription(stream, maxTextUnits, clock, this.#events)
    this.#byStream.set(stream, subscription)
    this.#byChannel.set(keys.stream(stream).channel, subscription)
    return subscription
  }

  /** Waits until Redis has confirmed the subscription. */
  async confirm (subscription: Subscription): Promise<void> {
    await (subscription.confirmed ??= this.#subscribe([subscription]))
  }

  leave (stream: Stream): void {
    const subscription = this.#byStream.get(stream)
    if (subscription === undefined || stream === 'all') return
    const { keys, link } = this.#options
    const { channel } = keys.stream(stream)
    this.#byStream.delete(stream)
    this.#byChannel.delete(channel)
    subscription.release()
    // Without a connection, there is nothing to unsubscribe.
    if (link.isUp) link.call('unsubscribe', [channel]).catch(() => undefined)
  }

  /** Subscribes to all streams, and delivers what was missed of them. */
  async synchronise (): Promise<void> {
    const all = [...this.#byStream.values()]
    for (let at = 0; at < all.length; at += BATCH) {
      const batch = all.slice(at, at + BATCH)
      const unconfirmed = batch.filter(({ confirmed }) => confirmed === undefined)
      if (unconfirmed.length > 0) {
        const confirmed = this.#subscribe(unconfirmed)
        for (const subscription of unconfirmed) subscription.confirmed = confirmed
      }
      await Promise.all(batch.map((subscription) => this.confirm(subscription)))
      await Promise.all(batch.filter(({ stream, isJoined }) => isJoined || stream === 'all').map((subscription) => this.#readIfIntact(subscription)))
    }
  }

  /** Makes all messages wait, because the connection is lost. */
  suspend (): void {
    for (const subscription of this.#byStream.values()) subscription.suspend()
  }

  /** Begins all streams anew, because the store has lost history. */
  restart (): void {
    for (const subscription of this.#byStream.values()) {
      if (subscription.restart() && subscription.stream !== 'all') this.#options.node.restarted(subscription.stream)
    }
  }

  /** Continues the streams that were begun anew, if their channels are still subscribed. */
  async rebase (): Promise<void> {
    const { store, link } = this.#options
    const restarted = [...this.#byStream.values()].filter(({ confirmed, isJoined, isBegun }) => isBegun && confirmed !== undefined && !isJoined)
    const joins: Array<readonly [Subscription, Joined]> = []
    for (let at = 0; at < restarted.length; at += BATCH) {
      joins.push(...await Promise.all(restarted.slice(at, at + BATCH).map(async (subscription) => [subscription, await store.join(subscription.stream)] as const)))
    }
    // Its reply comes after everything that the joins cover.
    await link.call('ping', [])
    for (const [subscription, joined] of joins) if (subscription.confirmed !== undefined) subscription.rebase(joined)
  }

  /** Returns the streams that were not touched since a time, and counts them as touched. */
  takeUntouched (since: number, most: number): Stream[] {
    const now = this.#options.clock.monotonic()
    const streams: Stream[] = []
    for (const subscription of this.#byStream.values()) {
      if (streams.length >= most) break
      if (subscription.touchedAt > since) continue
      subscription.touchedAt = now
      streams.push(subscription.stream)
    }
    return streams
  }

  close (): void {
    for (const subscription of this.#byStream.values()) subscription.release()
    this.#byStream.clear()
    this.#byChannel.clear()
  }

  #subscribe (subscriptions: readonly Subscription[]): Promise<unknown> {
    const { link, keys } = this.#options
    const confirmed = link.call('subscribe', subscriptions.map(({ stream }) => keys.stream(stream).channel))
    confirmed.catch(() => {
      for (const subscription of subscriptions) if (subscription.confirmed === confirmed) subscription.confirmed = undefined
    })
    return confirmed
  }

  /** Delivers what a subscription has missed. */
  async #resynchronise (subscription: Subscription): Promise<void> {
    try {
      await this.#readIfIntact(subscription)
    } catch (error) {
      if (this.#byStream.get(subscription.stream) !== subscription || !this.#options.link.isUp) return
      if (error instanceof OutdatedError) this.#options.onOutdated()
      else this.#options.onFailure(error)
    }
  }

  /** Reads a stream. If a key of it belongs to another program, only this stream fails: its subscribers can't join it again. */
  async #readIfIntact (subscription: Subscription): Promise<void> {
    try {
      await this.#read(subscription)
    } catch (error) {
      if (!(error instanceof ForeignKeyError)) throw error
      this.#options.log.error({ err: error, stream: subscription.stream }, 'a stream can\'t be read')
      if (subscription.stream !== 'all') this.#restart(subscription)
    }
  }

  async #read (subscription: Subscription): Promise<void> {
    const { stream, position, texts, isJoined } = subscription
    const joined = await this.#options.store.join(stream, isJoined ? position : undefined, texts)
    if (this.#byStream.get(stream) !== subscription) return
    // It was restarted or synchronised meanwhile.
    if (subscription.isJoined !== isJoined || subscription.position.epoch !== position.epoch) return
    if (!isJoined) subscription.joined(joined)
    else if (joined.recovered && joined.epoch === position.epoch) subscription.resume(joined)
    else this.#restart(subscription)
  }

  #handleEpoch (subscription: Subscription, epoch: string): void {
    if (epoch.startsWith(`${this.#options.store.generation}.`)) {
      // The stream was forgotten, and has begun anew.
      this.#restart(subscription)
      return
    }
    subscription.hold()
    this.#options.onOutdated()
  }

  #restart (subscription: Subscription): void {
    const isTold = subscription.restart()
    if (subscription.stream === 'all') void this.#resynchronise(subscription)
    else if (isTold) this.#options.node.restarted(subscription.stream)
  }
}
