import type { Stream } from '../streams/broker.js'
import { joinBytes, type Frame } from './frame.js'
import type { Outbox, Outgoing } from './outbox.js'
import type { Replay } from './replay.js'

export interface Entry {
  readonly frame: Frame
  /** Its place in the stream's order, as the broker counts it. */
  readonly revision: number
  /** Its place among all that the hub delivered. */
  readonly order: number
}

/** What a channel was given from one flush to the next: at least one entry. */
export class Batch {
  readonly channel: Channel
  /** Its first entry's place in the hub's order. */
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

  /** Adds those from a place on to a list. */
  collect (order: number, into: Entry[]): void {
    for (const entry of this.#entries) if (entry.order >= order) into.push(entry)
  }

  get frames (): readonly Frame[] {
    this.#frames ??= this.#entries.map(({ frame }) => frame)
    return this.#frames
  }

  /** Its frames as one piece of bytes: joined once, however many subscribers there are. */
  bytes (inflates: boolean): Buffer {
    if (inflates) return this.#deflated ??= this.#join(true)
    return this.#plain ??= this.#join(false)
  }

  #join (inflates: boolean): Buffer {
    return joinBytes(this.frames.map((frame) => frame.bytes(inflates)))
  }
}

/** A stream on this node: who follows it, and what they have coming. */
export class Channel {
  readonly stream: Stream
  readonly subscribers = new Set<Subscriber>()
  /** What is not being sent yet. */
  next: Batch | undefined
  /** What is being sent now. */
  current: Batch | undefined
  /** Those whose `join` the broker has not answered yet, with what came meanwhile. There only while there are any. */
  #entering: Map<Subscriber, Entry[]> | undefined

  constructor (stream: Stream) {
    this.stream = stream
  }

  get size (): number {
    return this.subscribers.size + (this.#entering?.size ?? 0)
  }

  /** Begins an entrance, and answers the list of what will have come meanwhile. One that was begun before is void. */
  enter (subscriber: Subscriber): Entry[] {
    const meanwhile: Entry[] = []
    this.#entering ??= new Map()
    this.#entering.set(subscriber, meanwhile)
    subscriber.entering ??= new Set()
    subscriber.entering.add(this)
    return meanwhile
  }

  isEntering (subscriber: Subscriber, meanwhile: Entry[]): boolean {
    return this.#entering?.get(subscriber) === meanwhile
  }

  /** It is no longer on its way in. */
  unenter (subscriber: Subscriber): void {
    if (this.#entering?.delete(subscriber) !== true) return
    if (this.#entering.size === 0) this.#entering = undefined
    subscriber.entering?.delete(this)
    if (subscriber.entering?.size === 0) subscriber.entering = undefined
  }

  /** Takes an entry to all. Answers the batch that it begins, if any: that must be sent. */
  add (entry: Entry): Batch | undefined {
    if (this.#entering !== undefined) for (const meanwhile of this.#entering.values()) meanwhile.push(entry)
    if (this.subscribers.size === 0) return undefined
    if (this.next === undefined) return this.next = new Batch(this, entry)
    this.next.add(entry)
    return undefined
  }

  /** From now on what comes belongs to another batch than what is being sent. */
  turn (): void {
    this.current = this.next
    this.next = undefined
  }

  /** All have it. */
  sent (): void {
    this.current = undefined
  }
}

/**
 * A connection as the hub sees it: where its frames go, which channels it follows, and notes that save a look-up
 * for each delivery. The notes are the hub's alone.
 */
export class Subscriber {
  readonly outbox: Outbox
  /** Made anew at each change: an array that grows takes room for sixteen more, and most follow two or three. */
  channels: readonly Channel[] = []
  /** Those that it is on its way into, if any. */
  entering: Set<Channel> | undefined
  /** Deliveries before this place are written, are in `own`, or were none of its business. */
  cursor = 0
  /** What it gets at the next flush, in order: listed for it alone once that is not simply a whole batch. */
  own: Outgoing[] | undefined
  /** Replays that were not sent whole yet, and their channels. */
  replays: Map<Replay, Channel> | undefined
  /** While batches are sent: the first for it, and whether it gets something else than that one as it is. */
  fedBy: Batch | undefined
  mixed = false

  constructor (outbox: Outbox) {
    this.outbox = outbox
  }
}
