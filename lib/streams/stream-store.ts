import { randomUUID } from 'node:crypto'
import type { Clock, Timer } from '../util/clock.js'
import { LruList, type LruItem } from './lru-list.js'
import type { Evicted, Stream } from './broker.js'
import { Evictions, type EvictionLog } from './evictions.js'
import { Scales, UNIT_BYTES } from './kept-publication.js'
import { StreamState, type StreamCommons, type StreamLimits } from './stream-state.js'

export interface StreamStoreOptions extends StreamLimits {
  readonly clock: Clock
  readonly log: EvictionLog
  /** How long messages are kept after a stream's latest, in milliseconds. */
  readonly ttlMs: number
  /** How long a job's end is kept, and the stream's numbers go on, in milliseconds. */
  readonly endTtlMs: number
  /** Bytes that all streams keep together. */
  readonly maxTotalBytes: number
  /**
   * Streams of which at least the numbers are kept. Those that are followed are not counted, and those with a running job
   * may be as many again.
   */
  readonly maxStreams: number
}

/** What one message may take of the bytes of all, and one stream with its messages and all that its jobs left. */
const MESSAGE_SHARE = 1 / 16
const STREAM_SHARE = 1 / 8
/** What the text of one job may take of the bytes of its stream. */
const TEXT_SHARE = 1 / 2
/** A stream with more than this share of all bytes is large: at the bound the large ones give first, the largest before others. */
const LARGE_SHARE = 1 / 1024

/** Lives are counted for groups of streams: a counter for each stream for ever would be a leak. */
const LIFE_GROUPS = 16_384
/** What is remembered of a group of streams. */
interface Past {
  /** How many were forgotten: the next life of a stream of the group gets a new epoch. */
  readonly lives: number
  /** UTF-16 units of the longest text that was forgotten while more of it might have come. */
  readonly lostUnits: number
}

/** How often what has expired is looked for, as a share of its lifetime. */
const SWEEPS_PER_TTL = 10

/** A stream that was published to, and its place among the others. */
class Kept implements LruItem<Kept> {
  readonly stream: Stream
  readonly state: StreamState
  /** When it was last published to, or left by its last subscriber; and the how manieth of all such that was. */
  touchedAt = 0
  touch = 0
  /** Whether its messages are gone. */
  isSettled = false
  among: LruList<Kept> | undefined
  older: Kept | undefined
  younger: Kept | undefined

  constructor (stream: Stream, state: StreamState) {
    this.stream = stream
    this.state = state
  }
}

/**
 * The streams that were published to, within bounds. A stream is *fresh* until `ttlMs` after its latest message, then
 * *settled*: only its jobs' state is left. After `endTtlMs` it is forgotten, unless somebody follows it.
 *
 * Where there is no room for all, large streams are shrunk first, the largest before others: no stream loses anything while
 * another one holds more than its share. If that is not enough, the least recently published stream is settled, then
 * forgotten, before its time. A job of which more may come is not forgotten for want of bytes, since a text that began anew
 * in its middle would be taken for the whole. Of too many streams the least recently published is forgotten; those that are
 * followed or have a running job are passed over.
 */
export class StreamStore {
  readonly #options: StreamStoreOptions
  readonly #process = randomUUID().slice(0, 8)
  /** One string for nearly all streams. */
  readonly #firstEpoch = `${this.#process}.0`
  readonly #kept = new Map<Stream, Kept>()
  /**
   * Each in the order in which they were touched. The settled ones are two: those that settled in their turn, and those
   * that count as young again since, because their last subscriber left; together they would have no order.
   */
  readonly #fresh = new LruList<Kept>()
  readonly #settled = new LruList<Kept>()
  readonly #rested = new LruList<Kept>()
  /**
   * Those that were passed over when room was made, because they were followed or had a running job: until they are
   * published to, left by their last subscriber, or settled.
   */
  readonly #passed = { followed: new LruList<Kept>(), running: new LruList<Kept>() }
  readonly #large = new Set<Kept>()
  /** With the epoch that subscribers were told: it stays true also if the stream is first published to later. */
  readonly #followed = new Map<Stream, string>()
  readonly #past = new Map<number, Past>()
  readonly #commons: StreamCommons
  readonly #evictions: Evictions
  readonly #largeBytes: number
  #bytes = 0
  #touches = 0
  #sweep: Timer | undefined

  constructor (options: StreamStoreOptions) {
    const { maxMessages, maxBytes, maxTotalBytes, deflateFromBytes } = options
    const [maxMessageBytes, maxStreamBytes] = [maxTotalBytes * MESSAGE_SHARE, maxTotalBytes * STREAM_SHARE]
    const maxTextUnits = Math.min(options.maxTextUnits, Math.floor(maxStreamBytes * TEXT_SHARE / UNIT_BYTES))
    this.#options = options
    this.#largeBytes = maxTotalBytes * LARGE_SHARE
    this.#evictions = new Evictions(options)
    this.#commons = {
      bounds: { maxMessages, maxBytes, maxTextUnits, maxMessageBytes, maxStreamBytes },
      scales: new Scales({ maxMessageBytes, deflateFromBytes }),
      evictions: this.#evictions
    }
  }

  /** What all of them keep, in bytes. */
  get bytes (): number {
    return this.#bytes
  }

  get evicted (): Evicted {
    return this.#evictions.total
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

  /** What a subscriber was told stays true for as long as if the stream had been published to just now. */
  unsubscribe (stream: Stream): void {
    this.#followed.delete(stream)
    const kept = this.#kept.get(stream)
    if (kept !== undefined && kept.among !== this.#fresh) this.#touch(kept, kept.isSettled ? this.#rested : this.#fresh)
  }

  find (stream: Stream): StreamState | undefined {
    return this.#kept.get(stream)?.state
  }

  /** Publishes to a stream, made if need be, and keeps everything within its bounds. */
  update<T> (stream: Stream, publish: (state: StreamState) => T): T {
    const kept = this.#kept.get(stream) ?? this.#begin(stream)
    this.#touch(kept, this.#fresh)
    kept.isSettled = false
    const result = this.#change(kept, publish)
    this.#relieve()
    this.#evictions.report()
    this.#sweep ??= this.#sweepLater()
    return result
  }

  clear (): void {
    this.#sweep?.cancel()
    for (const kept of this.#kept.values()) kept.among?.remove(kept)
    this.#kept.clear()
    this.#large.clear()
    this.#followed.clear()
    this.#bytes = 0
    this.#evictions.close()
  }

  #begin (stream: Stream): Kept {
    this.#makeRoom()
    const kept = new Kept(stream, new StreamState(stream, this.#nextEpoch(stream), this.#commons, this.#pastOf(stream)?.lostUnits))
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
    for (const kept of [...this.#passed.running, ...this.#passed.followed]) {
      const ageMs = now - kept.touchedAt
      if (ageMs >= ttlMs && !kept.isSettled) this.#settle(kept)
      if (ageMs >= endTtlMs) this.#forget(kept, this.#followed.has(kept.stream))
    }
  }

  #relieve (): void {
    const { maxTotalBytes } = this.#options
    if (this.#bytes <= maxTotalBytes) return
    const evictions = this.#evictions
    const isTooMuch = (): boolean => this.#bytes > maxTotalBytes
    this.#shrinkLargest()
    // Those that were passed over were published to before those that are fresh.
    for (const list of [this.#passed.running, this.#passed.followed, this.#fresh]) {
      for (let { oldest } = list; oldest !== undefined && isTooMuch(); { oldest } = list) this.#settle(oldest, evictions)
    }
    for (let oldest = this.#oldestSettled(); oldest !== undefined && isTooMuch(); oldest = this.#oldestSettled()) {
      this.#forget(oldest, oldest.state.mayGoOn || this.#followed.has(oldest.stream), evictions)
    }
  }

  /** A large stream is shrunk by what is too much, but not further than to where it is large no longer. */
  #shrinkLargest (): void {
    const { maxTotalBytes } = this.#options
    while (this.#bytes > maxTotalBytes) {
      let largest: Kept | undefined
      for (const kept of this.#large) if (largest === undefined || kept.state.bytes > largest.state.bytes) largest = kept
      if (largest === undefined) return
      const before = largest.state.bytes
      const target = before - (this.#bytes - maxTotalBytes)
      this.#change(largest, (state) => { state.shrink(Math.max(target, this.#largeBytes)) })
      // It has nothing left to give until it is published to.
      if (largest.state.bytes === before) this.#large.delete(largest)
    }
  }

  /**
   * Few steps are enough, since each call makes one stream. So that memory is bounded whatever runs, streams with a running
   * job are forgotten too when they have doubled the number; then their texts go on where they were, without a beginning.
   */
  #makeRoom (): void {
    const { maxStreams } = this.#options
    const { followed, running } = this.#passed
    const most = maxStreams + this.#followed.size
    for (let steps = 0, oldest = this.#oldest(); steps < 8 && oldest !== undefined && this.size >= most; steps++, oldest = this.#oldest()) {
      if (this.#followed.has(oldest.stream)) followed.add(oldest)
      else if (oldest.state.mayGoOn) running.add(oldest)
      else this.#forget(oldest, false, this.#evictions)
    }
    for (let steps = 0, { oldest } = running; steps < 8 && oldest !== undefined && this.size >= most + maxStreams; steps++, { oldest } = running) {
      if (this.#followed.has(oldest.stream)) followed.add(oldest)
      else this.#forget(oldest, false, this.#evictions)
    }
  }

  #oldest (): Kept | undefined {
    return this.#oldestSettled() ?? this.#fresh.oldest
  }

  #oldestSettled (): Kept | undefined {
    const [{ oldest: settled }, { oldest: rested }] = [this.#settled, this.#rested]
    return settled === undefined || (rested !== undefined && rested.touch < settled.touch) ? rested : settled
  }

  #settle (kept: Kept, evictions?: Evictions): void {
    this.#change(kept, (state) => { state.settle(evictions) })
    kept.isSettled = true
    this.#settled.add(kept)
  }

  /** Of a stream that `goesOn` the numbers do, and what runs in it; and it counts as young again. */
  #forget (kept: Kept, goesOn: boolean, evictions?: Evictions): void {
    const { stream, state } = kept
    const { openUnits } = state
    this.#change(kept, () => { state.empty(evictions) })
    kept.isSettled = true
    if (goesOn) {
      this.#touch(kept, this.#rested)
      return
    }
    kept.among?.remove(kept)
    this.#kept.delete(stream)
    const { lives, lostUnits } = this.#pastOf(stream) ?? { lives: 0, lostUnits: 0 }
    this.#past.set(group(stream), { lives: lives + 1, lostUnits: Math.max(lostUnits, openUnits) })
    evictions?.add('streams')
  }

  /** Changes what a stream keeps. */
  #change<T> (kept: Kept, change: (state: StreamState) => T): T {
    const { state } = kept
    const before = state.bytes
    const result = change(state)
    const { bytes } = state
    this.#bytes += bytes - before
    if (bytes > this.#largeBytes) this.#large.add(kept)
    else if (before > this.#largeBytes) this.#large.delete(kept)
    return result
  }

  /** It counts as young from now on. */
  #touch (kept: Kept, among: LruList<Kept>): void {
    kept.touchedAt = this.#options.clock.monotonic()
    kept.touch = ++this.#touches
    among.add(kept)
  }

  #nextEpoch (stream: Stream): string {
    const followed = this.#followed.get(stream)
    if (followed !== undefined) return followed
    const lives = this.#pastOf(stream)?.lives
    return lives === undefined ? this.#firstEpoch : `${this.#process}.${lives.toString(36)}`
  }

  #pastOf (stream: Stream): Past | undefined {
    // To hash a name is not free, and mostly nothing was forgotten.
    return this.#past.size === 0 ? undefined : this.#past.get(group(stream))
  }
}

/** FNV-1a over the name's UTF-16 units: cheap, and only its spread matters. */
function group (stream: Stream): number {
  let hash = 0x811c9dc5
  for (let i = 0; i < stream.length; i++) hash = Math.imul(hash ^ stream.charCodeAt(i), 0x01000193)
  return (hash >>> 0) % LIFE_GROUPS
}
