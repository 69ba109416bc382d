import { randomUUID } from 'node:crypto'
import type { Clock } from '../clock.js'
import type { Broker, BrokerNode, ControlMessage, Joined, Position, Published, PublishOptions, Stream } from './broker.js'

/** Where a stream is. */
interface Head {
  readonly epoch: string
  seq: number
  revision: number
  /** When it was last published to or left by its last follower; meaningless while it is followed. */
  idleSince: number
}

export interface MemoryBrokerOptions {
  readonly clock: Clock
  /**
   * How long the head of a stream that nobody follows is remembered after its last message or its last follower,
   * whichever is later, in milliseconds.
   * @default 86_400_000 (24 hours)
   */
  readonly headTtlMs?: number
  /**
   * How many heads are remembered at most, those that are followed not counted against it.
   * @default 100_000
   */
  readonly maxHeads?: number
}

/** Lives are counted for groups of streams: a counter for each stream for ever would be a leak. */
const LIFE_GROUPS = 16_384

/** The default broker: one process, everything at once, nothing kept but each stream's head. */
export class MemoryBroker implements Broker {
  readonly #clock: Clock
  readonly #headTtlMs: number
  readonly #maxHeads: number
  readonly #process = randomUUID().slice(0, 8)
  /** While a stream is followed its head stays, so that what its followers were told about it stays true. */
  readonly #followed = new Map<Stream, Head>()
  /** The others that were published to, those idle for longest first. */
  readonly #idle = new Map<Stream, Head>()
  /** For each group of streams, how many heads were forgotten: the next life of a stream in it gets a new epoch. */
  readonly #lives = new Map<number, number>()
  #node: BrokerNode | undefined

  constructor ({ clock, headTtlMs = 86_400_000, maxHeads = 100_000 }: MemoryBrokerOptions) {
    this.#clock = clock
    this.#headTtlMs = headTtlMs
    this.#maxHeads = maxHeads
  }

  open (node: BrokerNode): void {
    this.#node = node
  }

  publish (stream: Stream, body: string, options: PublishOptions): Published {
    const head = this.#followed.get(stream) ?? this.#rest(stream, this.#idle.get(stream) ?? this.#begin(stream))
    head.revision++
    if (options.durable) head.seq++
    const recipients = this.#node?.deliver(stream, {
      ...options, body, revision: head.revision, ...(options.durable && { seq: head.seq })
    }) ?? 0
    return { epoch: head.epoch, seq: head.seq, recipients }
  }

  join (stream: Stream, since?: Position): Joined {
    const head = this.#follow(stream)
    const at = { epoch: head.epoch, seq: head.seq, revision: head.revision, missed: [], state: [] }
    if (since === undefined) return { ...at, recovered: false, reason: 'new' }
    if (since.epoch !== head.epoch) return { ...at, recovered: false, reason: 'restarted' }
    if (since.seq !== head.seq) return { ...at, recovered: false, reason: 'expired' }
    return { ...at, recovered: true }
  }

  leave (stream: Stream): void {
    const head = this.#followed.get(stream)
    this.#followed.delete(stream)
    if (head !== undefined && head.revision > 0) this.#rest(stream, head)
  }

  control (message: ControlMessage): void {
    this.#node?.control(message)
  }

  close (): void {
    this.#node = undefined
    this.#followed.clear()
    this.#idle.clear()
  }

  #begin (stream: Stream): Head {
    return { epoch: `${this.#process}.${this.#life(stream).toString(36)}`, seq: 0, revision: 0, idleSince: 0 }
  }

  #follow (stream: Stream): Head {
    let head = this.#followed.get(stream)
    if (head === undefined) {
      head = this.#idle.get(stream) ?? this.#begin(stream)
      this.#idle.delete(stream)
      this.#followed.set(stream, head)
    }
    return head
  }

  /** Puts the head at the young end of the idle ones. */
  #rest (stream: Stream, head: Head): Head {
    head.idleSince = this.#clock.monotonic()
    this.#idle.delete(stream)
    this.#forgetOld(head.idleSince)
    this.#idle.set(stream, head)
    return head
  }

  /**
   * Makes room for one more. A few steps a call are enough to stay level, since each call adds one head, and they bound
   * what a publication can cost.
   */
  #forgetOld (now: number): void {
    let steps = 8
    for (const [stream, head] of this.#idle) {
      const expired = now - head.idleSince > this.#headTtlMs
      if ((!expired && this.#idle.size < this.#maxHeads) || steps-- === 0) return
      this.#idle.delete(stream)
      this.#lives.set(group(stream), this.#life(stream) + 1)
    }
  }

  #life (stream: Stream): number {
    return this.#lives.get(group(stream)) ?? 0
  }
}

/** FNV-1a over the name's UTF-16 units: cheap, and only its spread matters. */
function group (stream: Stream): number {
  let hash = 0x811c9dc5
  for (let i = 0; i < stream.length; i++) hash = Math.imul(hash ^ stream.charCodeAt(i), 0x01000193)
  return (hash >>> 0) % LIFE_GROUPS
}
