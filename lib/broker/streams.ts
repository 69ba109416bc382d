import { randomUUID } from 'node:crypto'
import type { Clock, Timer } from '../clock.js'
import { AgeList, type Aged } from './age-list.js'
import type { Stream } from './broker.js'
import { StreamState, type StreamBounds } from './stream-state.js'

export interface StreamsOptions extends StreamBounds {
  readonly clock: Clock
  /** How long messages are kept after a stream's latest, in milliseconds. */
  readonly ttlMs: number
  /** How long a job's end is kept, and the stream's numbers go on, in milliseconds. */
  readonly endTtlMs: number
  /** Bytes that all streams keep together. */
  readonly maxTotalBytes: number
  /** Streams of which at least the numbers are kept; those that are followed are not counted. */
  readonly maxStreams: number
}

/** Lives are counted for groups of streams: a counter for each stream for ever would be a leak. */
const LIFE_GROUPS = 16_384
/** How often what has expired is looked for, as a share of its lifetime. */
const SWEEPS_PER_TTL = 10

/** A stream that was published to, and its place among the others. */
class Kept implements Aged<Kept> {
  readonly stream: Stream
  readonly state: StreamState
  /** When it was last published to, or left by its last follower; and the how manieth of all such that was. */
  touchedAt = 0
  touch = 0
  among: AgeList<Kept> | undefined
  older: Kept | undefined
  younger: Kept | undefined

  constructor (stream: Stream, state: StreamState) {
    this.stream = stream
    this.state = state
  }
}

/**
 * The streams that were published to, within bounds. A stream is *fresh* until `ttlMs` after its latest message, then
 * *settled*: only its jobs' state is left. After `endTtlMs` it is forgotten, unless somebody follows it. Under pressure
 * the same happens earlier, to the least recently published first; only that a job of which more may come is not forgotten
 * for want of bytes, since a text that began anew in its middle would be taken for the whole.
 */
export class Streams {
  readonly #options: StreamsOptions
  readonly #process = randomUUID().slice(0, 8)
  /** One string for nearly all streams. */
  readonly #firstEpoch = `${this.#process}.0`
  readonly #kept = new Map<Stream, Kept>()
  /**
   * Each in the order in which they were touched. The settled ones are two: those that settled in their turn, and those
   * that count as young again since, because their last follower left; together they would have no order.
   */
  readonly #fresh = new AgeList<Kept>()
  readonly #settled = new AgeList<Kept>()
  readonly #rested = new AgeList<Kept>()
  /** With the epoch that followers were told: it stays true also if the stream is first published to later. */
  readonly #followed = new Map<Stream, string>()
  /** For each group of streams, how many were forgotten: the next life of a stream in it gets a new epoch. */
  readonly #lives = new Map<number, number>()
  #bytes = 0
  #touches = 0
  #sweep: Timer | undefined

  constructor (options: StreamsOptions) {
    this.#options = options
  }

  /** What all of them keep, in bytes. */
  get bytes (): number {
    return this.#bytes
  }

  get size (): number {
    return this.#kept.size
  }

  /** Answers the epoch that the stream is in, or begins in. */
  follow (stream: Stream): string {
    const epoch = this.find(stream)?.epoch ?? this.#nextEpoch(stream)
    this.#followed.set(stream, epoch)
    return epoch
  }

  /** What a follower was told stays true for as long as if the stream had been published to just now. */
  unfollow (stream: Stream): void {
    this.#followed.delete(stream)
    const kept = this.#kept.get(stream)
    if (kept !== undefined && kept.among !== this.#fresh) this.#touch(kept, this.#rested)
  }

  find (stream: Stream): StreamState | undefined {
    return this.#kept.get(stream)?.state
  }

  /** Publishes to a stream, made if need be, and keeps everything within its bounds. */
  update<T> (stream: Stream, publish: (state: StreamState) => T): T {
    const kept = this.#kept.get(stream) ?? this.#begin(stream)
    const { state } = kept
    this.#touch(kept, this.#fresh)
    const before = state.bytes
    const result = publish(state)
    this.#bytes += state.bytes - before
    this.#relieve()
    this.#sweep ??= this.#sweepLater()
    return result
  }

  clear (): void {
    this.#sweep?.cancel()
    for (const kept of this.#kept.values()) kept.among?.remove(kept)
    this.#kept.clear()
    this.#followed.clear()
    this.#bytes = 0
  }

  #begin (stream: Stream): Kept {
    this.#makeRoom()
    const kept = new Kept(stream, new StreamState(stream, this.#nextEpoch(stream), this.#options))
    this.#kept.set(stream, kept)
    return kept
  }

  #sweepLater (): Timer {
    return this.#options.clock.after(this.#options.ttlMs / SWEEPS_PER_TTL, () => {
      this.#expire()
      this.#sweep = this.size > 0 ? this.#sweepLater() : undefined
    })
  }

  #expire (): void {
    const { clock, ttlMs, endTtlMs } = this.#options
    const now = clock.monotonic()
    for (let { oldest } = this.#fresh; oldest !== undefined && now - oldest.touchedAt >= ttlMs; { oldest } = this.#fresh) this.#settle(oldest)
    for (let oldest = this.#oldestSettled(); oldest !== undefined && now - oldest.touchedAt >= endTtlMs; oldest = this.#oldestSettled()) {
      this.#forget(oldest, this.#followed.has(oldest.stream))
    }
  }

  /** Messages go first, then what jobs left behind: a job's end is what people wait for. */
  #relieve (): void {
    const isTooMuch = (): boolean => this.#bytes > this.#options.maxTotalBytes
    for (let { oldest } = this.#fresh; oldest !== undefined && isTooMuch(); { oldest } = this.#fresh) this.#settle(oldest)
    for (let oldest = this.#oldestSettled(); oldest !== undefined && isTooMuch(); oldest = this.#oldestSettled()) {
      this.#forget(oldest, oldest.state.mayGoOn || this.#followed.has(oldest.stream))
    }
  }

  /**
   * One that is followed is passed over, and counts as young again: to empty it would make no room. So it takes some
   * steps; few are enough, since each call makes one stream.
   */
  #makeRoom (): void {
    const isFull = (): boolean => this.size >= this.#options.maxStreams + this.#followed.size
    for (let steps = 0, oldest = this.#oldest(); steps < 8 && oldest !== undefined && isFull(); steps++, oldest = this.#oldest()) {
      if (this.#followed.has(oldest.stream)) {
        this.#touch(oldest, oldest.among === this.#fresh ? this.#fresh : this.#rested)
      } else {
        this.#settle(oldest)
        this.#forget(oldest, false)
      }
    }
  }

  #oldest (): Kept | undefined {
    return this.#oldestSettled() ?? this.#fresh.oldest
  }

  #oldestSettled (): Kept | undefined {
    const [{ oldest: settled }, { oldest: rested }] = [this.#settled, this.#rested]
    return settled === undefined || (rested !== undefined && rested.touch < settled.touch) ? rested : settled
  }

  #settle (kept: Kept): void {
    const { state } = kept
    const before = state.bytes
    state.settle()
    this.#bytes += state.bytes - before
    this.#settled.add(kept)
  }

  /** Of a stream that `goesOn` the numbers do, and what runs in it; and it counts as young again. */
  #forget (kept: Kept, goesOn: boolean): void {
    const { stream, state } = kept
    this.#bytes -= state.bytes
    if (goesOn) {
      state.empty()
      this.#touch(kept, this.#rested)
    } else {
      kept.among?.remove(kept)
      this.#kept.delete(stream)
      this.#lives.set(group(stream), this.#life(stream) + 1)
    }
  }

  /** It counts as young from now on. */
  #touch (kept: Kept, among: AgeList<Kept>): void {
    kept.touchedAt = this.#options.clock.monotonic()
    kept.touch = ++this.#touches
    among.add(kept)
  }

  #nextEpoch (stream: Stream): string {
    const followed = this.#followed.get(stream)
    if (followed !== undefined) return followed
    const life = this.#life(stream)
    return life === 0 ? this.#firstEpoch : `${this.#process}.${life.toString(36)}`
  }

  #life (stream: Stream): number {
    // To hash a name is not free, and mostly nothing was forgotten.
    return this.#lives.size === 0 ? 0 : this.#lives.get(group(stream)) ?? 0
  }
}

/** FNV-1a over the name's UTF-16 units: cheap, and only its spread matters. */
function group (stream: Stream): number {
  let hash = 0x811c9dc5
  for (let i = 0; i < stream.length; i++) hash = Math.imul(hash ^ stream.charCodeAt(i), 0x01000193)
  return (hash >>> 0) % LIFE_GROUPS
}
