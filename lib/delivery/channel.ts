import type { Stream } from '../streams/broker.js'
import { joinBytes, type Frame } from './frame.js'
import type { Outbox, Outgoing } from './outbox.js'
import type { Replay } from './replay.js'

export interface Entry {
  readonly frame: Frame
  /** The publication's place in the stream's order. */
  readonly revision: number
  /** Its number among all deliveries of the hub. */
  readonly order: number
}

/** The publications of a channel between two flushes. Contains at least one entry. */
export class Batch {
  readonly channel: Channel
  /** The number of its first entry in the hub's order. */
  readonly begin: number
  readonly #entries: Entry[]
  #frames: readonly Frame[] | undefined
  #plain: Buffer | undefined
  #deflated: Buffer | undefined

  constructor (channel: Channel, first: Entry) {
    this.channel = channel
    this.begin = first.order
    this.#entries = [first]
  }

  add (entry: Entry): void {
    this.#entries.push(entry)
  }

  /** Appends the entries from `order` on to a list. */
  collect (order: number, into: Entry[]): void {
    for (const entry of this.#entries) if (entry.order >= order) into.push(entry)
  }

  get frames (): readonly Frame[] {
    this.#frames ??= this.#entries.map(({ frame }) => frame)
    return this.#frames
  }

  /** Returns the bytes of all its frames, joined once for all subscribers. */
  bytes (inflates: boolean): Buffer {
    if (inflates) return this.#deflated ??= this.#join(true)
    return this.#plain ??= this.#join(false)
  }

  #join (inflates: boolean): Buffer {
    return joinBytes(this.frames.map((frame) => frame.bytes(inflates)))
  }
}

/** Tracks the subscribers of one stream on this node, and the publications that are due to them. */
export class Channel {
  readonly stream: Stream
  readonly subscribers = new Set<Subscriber>()
  /** The batch for the next flush. */
  next: Batch | undefined
  /** The batch that is being flushed. */
  current: Batch | undefined
  /** How often the broker has lost history of the stream. A join that was pending meanwhile begins again. */
  restarts = 0
  /** Pending joins, and what was published since they began. Undefined if there are none. */
  #joining: Map<Subscriber, Entry[]> | undefined

  constructor (stream: Stream) {
    this.stream = stream
  }

  get size (): number {
    return this.subscribers.size + (this.#joining?.size ?? 0)
  }

  /** Begins a join. Returns the list that collects the publications until it ends. Replaces an earlier pending join. */
  beginJoin (subscriber: Subscriber): Entry[] {
    const arrived: Entry[] = []
    this.#joining ??= new Map()
    this.#joining.set(subscriber, arrived)
    subscriber.joining ??= new Set()
    subscriber.joining.add(this)
    return arrived
  }

  /** Records that history was lost, and discards what pending joins have collected of it. */
  restart (): void {
    this.restarts++
    for (const arrived of this.#joining?.values() ?? []) arrived.length = 0
  }

  isJoining (subscriber: Subscriber, arrived: Entry[]): boolean {
    return this.#joining?.get(subscriber) === arrived
  }

  /** Ends a pending join, if there is one. */
  endJoin (subscriber: Subscriber): void {
    if (this.#joining?.delete(subscriber) !== true) return
    if (this.#joining.size === 0) this.#joining = undefined
    subscriber.joining?.delete(this)
    if (subscriber.joining?.size === 0) subscriber.joining = undefined
  }

  /** Adds an entry for all subscribers. Returns the batch if the entry began a new one, which must then be flushed. */
  add (entry: Entry): Batch | undefined {
    if (this.#joining !== undefined) for (const arrived of this.#joining.values()) arrived.push(entry)
    if (this.subscribers.size === 0) return undefined
    if (this.next === undefined) return this.next = new Batch(this, entry)
    this.next.add(entry)
    return undefined
  }

  /** Begins a flush. Entries that are added during it go to the next batch. */
  beginFlush (): void {
    this.current = this.next
    this.next = undefined
  }

  /** Ends a flush. */
  endFlush (): void {
    this.current = undefined
  }
}

/**
 * A connection as the hub sees it: its outbox, its channels, and the hub's own bookkeeping, which saves look-ups for each
 * delivery.
 */
export class Subscriber {
  readonly outbox: Outbox
  /** Replaced at each change, because V8 over-allocates an array that grows by `push` (benchmark row `channels`). */
  channels: readonly Channel[] = []
  /** Channels with a pending join. Undefined if there are none. */
  joining: Set<Channel> | undefined
  /** Deliveries before this number are written, are in its own queue, or were not for this subscriber. */
  cursor = 0
  /** Its own queue for the next flush, in order. Undefined while it simply gets a whole batch of one channel. */
  queue: Outgoing[] | undefined
  /** Unfinished replays and their channels. Undefined if there are none. */
  replays: Map<Replay, Channel> | undefined
  /** During a flush: the first batch for this subscriber, and whether it needs anything other than exactly this batch. */
  firstBatch: Batch | undefined
  mixed = false

  constructor (outbox: Outbox) {
    this.outbox = outbox
  }
}
