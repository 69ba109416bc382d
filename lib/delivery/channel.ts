import type { Stream } from '../broker/broker.js'
import { joinBytes, type Frame } from './frame.js'
import type { Follower } from './follower.js'

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

  /** Its frames as one piece of bytes: joined once, however many followers there are. */
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
  readonly followers = new Set<Follower>()
  /** What is not being sent yet. */
  next: Batch | undefined
  /** What is being sent now. */
  current: Batch | undefined
  /** Those whose `join` the broker has not answered yet, with what came meanwhile. There only while there are any. */
  #entering: Map<Follower, Entry[]> | undefined

  constructor (stream: Stream) {
    this.stream = stream
  }

  get size (): number {
    return this.followers.size + (this.#entering?.size ?? 0)
  }

  /** Begins an entrance, and answers the list of what will have come meanwhile. One that was begun before is void. */
  enter (follower: Follower): Entry[] {
    const meanwhile: Entry[] = []
    this.#entering ??= new Map()
    this.#entering.set(follower, meanwhile)
    follower.entering ??= new Set()
    follower.entering.add(this)
    return meanwhile
  }

  isEntering (follower: Follower, meanwhile: Entry[]): boolean {
    return this.#entering?.get(follower) === meanwhile
  }

  /** It is no longer on its way in. */
  unenter (follower: Follower): void {
    if (this.#entering?.delete(follower) !== true) return
    if (this.#entering.size === 0) this.#entering = undefined
    follower.entering?.delete(this)
    if (follower.entering?.size === 0) follower.entering = undefined
  }

  /** Takes an entry to all. Answers the batch that it begins, if any: that must be sent. */
  add (entry: Entry): Batch | undefined {
    if (this.#entering !== undefined) for (const meanwhile of this.#entering.values()) meanwhile.push(entry)
    if (this.followers.size === 0) return undefined
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
