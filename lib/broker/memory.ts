import { randomUUID } from 'node:crypto'
import type { Clock } from '../clock.js'
import type { Broker, BrokerNode, ControlMessage, Joined, Position, Published, PublishOptions, Stream } from './broker.js'

/** The head of a stream that was published to. */
interface Head {
  readonly epoch: string
  seq: number
  revision: number
  publishedAt: number
}

export interface MemoryBrokerOptions {
  readonly clock: Clock
  /**
   * How long the head of a stream that nobody follows is remembered after its last message, in milliseconds.
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
  /** In the order of their last message, oldest first. */
  readonly #heads = new Map<Stream, Head>()
  readonly #followed = new Set<Stream>()
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
    const head = this.#head(stream)
    head.revision++
    if (options.durable) head.seq++
    const recipients = this.#node?.deliver(stream, {
      ...options, body, revision: head.revision, ...(options.durable && { seq: head.seq })
    }) ?? 0
    return { epoch: head.epoch, seq: head.seq, recipients }
  }

  join (stream: Stream, since?: Position): Joined {
    this.#followed.add(stream)
    const head = this.#heads.get(stream) ?? { epoch: this.#epoch(stream), seq: 0, revision: 0 }
    const at = { epoch: head.epoch, seq: head.seq, revision: head.revision, missed: [], state: [] }
    if (since === undefined) return { ...at, recovered: false, reason: 'new' }
    if (since.epoch !== head.epoch) return { ...at, recovered: false, reason: 'restarted' }
    if (since.seq !== head.seq) return { ...at, recovered: false, reason: 'expired' }
    return { ...at, recovered: true }
  }

  leave (stream: Stream): void {
    this.#followed.delete(stream)
  }

  control (message: ControlMessage): void {
    this.#node?.control(message)
  }

  close (): void {
    this.#node = undefined
    this.#heads.clear()
    this.#followed.clear()
  }

  /** The stream's head, made if need be, and moved to the young end. */
  #head (stream: Stream): Head {
    const now = this.#clock.monotonic()
    let head = this.#heads.get(stream)
    if (head === undefined) {
      this.#forgetOld(now)
      head = { epoch: this.#epoch(stream), seq: 0, revision: 0, publishedAt: now }
    } else {
      this.#heads.delete(stream)
      head.publishedAt = now
    }
    this.#heads.set(stream, head)
    return head
  }

  /**
   * Makes room for one more. A head that is followed moves to the young end instead. A few steps a call are enough to
   * stay level, since each call makes one head, and they bound what a publication can cost.
   */
  #forgetOld (now: number): void {
    let steps = 8
    for (const [stream, head] of this.#heads) {
      const expired = now - head.publishedAt > this.#headTtlMs
      if ((!expired && this.#heads.size < this.#maxHeads) || steps-- === 0) return
      this.#heads.delete(stream)
      if (this.#followed.has(stream)) {
        head.publishedAt = now
        this.#heads.set(stream, head)
      } else {
        this.#lives.set(group(stream), this.#life(stream) + 1)
      }
    }
  }

  #life (stream: Stream): number {
    return this.#lives.get(group(stream)) ?? 0
  }

  #epoch (stream: Stream): string {
    return `${this.#process}.${this.#life(stream).toString(36)}`
  }
}

/** FNV-1a over the name's UTF-16 units: cheap, and only its spread matters. */
function group (stream: Stream): number {
  let hash = 0x811c9dc5
  for (let i = 0; i < stream.length; i++) hash = Math.imul(hash ^ stream.charCodeAt(i), 0x01000193)
  return (hash >>> 0) % LIFE_GROUPS
}
