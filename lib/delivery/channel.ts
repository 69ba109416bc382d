import type { Stream } from '../broker/broker.js'
import { joinBytes, type Frame } from './frame.js'
import type { Follower } from './follower.js'

export interface Entry {
  readonly frame: Frame
  /** Its place in the stream's order, as the broker counts it. */
  readonly revision: number
  /** Its place among all that the hub delivered in this tick. */
  readonly order: number
}

/** A stream on this node: who follows it, and what it was given in this tick. */
export class Channel {
  readonly stream: Stream
  readonly followers = new Set<Follower>()
  readonly entries: Entry[] = []
  /** Those whose `join` the broker has not answered yet, with what came meanwhile. There only while there are any. */
  #entering: Map<Follower, Entry[]> | undefined
  #frames: readonly Frame[] | undefined
  #plain: Buffer | undefined
  #deflated: Buffer | undefined

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

  /** Takes an entry to all. Answers whether somebody follows already, and must be written to. */
  add (entry: Entry): boolean {
    if (this.#entering !== undefined) for (const meanwhile of this.#entering.values()) meanwhile.push(entry)
    if (this.followers.size === 0) return false
    this.entries.push(entry)
    return true
  }

  /** This tick's frames. */
  get frames (): readonly Frame[] {
    this.#frames ??= this.entries.map(({ frame }) => frame)
    return this.#frames
  }

  /** This tick's frames as one piece of bytes: joined once, however many followers there are. */
  bytes (inflates: boolean): Buffer {
    if (inflates) return this.#deflated ??= this.#join(true)
    return this.#plain ??= this.#join(false)
  }

  /** The tick is over. */
  clear (): void {
    this.entries.length = 0
    this.#frames = undefined
    this.#plain = this.#deflated = undefined
  }

  #join (inflates: boolean): Buffer {
    return joinBytes(this.frames.map((frame) => frame.bytes(inflates)))
  }
}
