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
  /** Those whose `join` the broker has not answered yet, with what came meanwhile. */
  readonly joining = new Map<Follower, Entry[]>()
  readonly entries: Entry[] = []
  #frames: readonly Frame[] | undefined
  #joined: [plain: Buffer | undefined, deflated: Buffer | undefined] = [undefined, undefined]

  constructor (stream: Stream) {
    this.stream = stream
  }

  get size (): number {
    return this.followers.size + this.joining.size
  }

  /** This tick's frames. */
  get frames (): readonly Frame[] {
    this.#frames ??= this.entries.map(({ frame }) => frame)
    return this.#frames
  }

  /** This tick's frames as one piece of bytes: joined once, however many followers there are. */
  bytes (inflates: boolean): Buffer {
    const kind = inflates ? 1 : 0
    this.#joined[kind] ??= joinBytes(this.frames.map((frame) => frame.bytes(inflates)))
    return this.#joined[kind]
  }

  /** The tick is over. */
  clear (): void {
    this.entries.length = 0
    this.#frames = undefined
    this.#joined = [undefined, undefined]
  }
}
