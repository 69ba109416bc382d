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
  /** How long a stream's messages are kept after its latest one, in milliseconds. */
  readonly ttlMs: number
  /** How long a job's end and the stream's numbering are kept, in milliseconds. */
  readonly endTtlMs: number
  /** Bytes that all streams together may keep. */
  readonly maxTotalBytes: number
  /**
   * Number of streams whose numbering is kept. Streams with subscribers are not counted, and as many streams with a running
   * job are kept on top.
   */
  readonly maxStreams: number
}

/** Shares of `maxTotalBytes` that one message, and one stream with its messages and jobs, may take. */
const MESSAGE_SHARE = 1 / 16
const STREAM_SHARE = 1 / 8
/** Share of its stream's bytes that the text of one job may take. */
const TEXT_SHARE = 1 / 2
/** A stream with more than this share of `maxTotalBytes` is large. Eviction starts with the large streams, largest first. */
const LARGE_SHARE = 1 / 1024

/** Forgotten streams are counted per hash bucket, because a counter for each stream name would be a memory leak. */
const LIFE_GROUPS = 16_384
/** What is remembered of the forgotten streams of one bucket. */
interface Past {
  /** How many were forgotten. It is part of the epoch of the bucket's next stream. */
  readonly lives: number
  /** Length of the longest text that was forgotten before its job had ended for good, in UTF-16 units. */
  readonly lostUnits: number
}

/** How often the store looks for expired streams, per `ttlMs`. */
const SWEEPS_PER_TTL = 10

/** A stream that was published to, and its place in the LRU order. */
class Kept implements LruItem<Kept> {
  readonly stream: Stream
  readonly state: StreamState
  /** Time of the last publish or unsubscribe, and its sequence number (used for LRU order). */
  touchedAt = 0
  touch = 0
  /** Whether its messages were discarded. */
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
 * Keeps the streams that were published to, within limits. A stream is *fresh* until `ttlMs` after its latest message. Then
 * it is *trimmed*: only the state of its jobs is left. After `endTtlMs` it is forgotten, unless it has subscribers.
 *
 * If all streams together keep too many bytes, the store shrinks large streams first, largest first, so that a small stream
 * loses nothing while another one takes more than its share. If that is not enough, it trims the least recently used streams
 * early, then forgets them. It never forgets an open job to save bytes: late subscribers would take the rest of the job's
 * text for the whole.
 *
 * If there are too many streams, the store forgets the least recently used one. It skips streams with subscribers and
 * streams with a running job.
 */
export class StreamStore {
  readonly #options: StreamStoreOptions
  readonly #process = randomUUID().slice(0, 8)
  /** Shared by nearly all streams. */
  readonly #firstEpoch = `${this.#process}.0`
  readonly #kept = new Map<Stream, Kept>()
  /**
   * Each list is in LRU order. Trimmed streams are in two lists: those trimmed in order of age, and those used again after
   * that, because their last subscriber left. One list of both would not be in order.
   */
  readonly #fresh = new LruList<Kept>()
  readonly #settled = new LruList<Kept>()
  readonly #rested = new LruList<Kept>()
  /**
   * Streams that eviction skipped, because they had subscribers or a running job. They stay here until they are used again or
   * trimmed.
   */
  readonly #passed = { followed: new LruList<Kept>(), running: new LruList<Kept>() }
  readonly #large = new Set<Kept>()
  /** Streams with subscribers, and the epoch that these were sent. It stays valid if the stream is created later. */
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

  /** Bytes that all streams keep. */
  get bytes (): number {
    return this.#bytes
  }

  get evicted (): Evicted {
    return this.#evictions.total
  }

  get size (): number {
    return this.#kept.size
  }

  /** Marks a stream as having subscribers. Returns its epoch, or the one in which it will begin. */
  follow (stream: Stream): string {
    const epoch = this.find(stream)?.epoch ?? this.#nextEpoch(stream)
    this.#followed.set(stream, epoch)
    return epoch
  }

  /** Marks a stream as having no subscribers. Counts as a use, so that their positions stay valid for the full lifetime. */
  unsubscribe (stream: Stream): void {
    this.#followed.delete(stream)
    const kept = this.#kept.get(stream)
    if (kept !== undefined && kept.among !== this.#fresh) this.#touch(kept, kept.isSettled ? this.#rested : this.#fresh)
  }

  find (stream: Stream): StreamState | undefined {
    return this.#kept.get(stream)?.state
  }

  /** Publishes to a stream, creates it if necessary, and then enforces the limits. */
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
    // The skipped streams were last used before the fresh ones.
    for (const list of [this.#passed.running, this.#passed.followed, this.#fresh]) {
      for (let { oldest } = list; oldest !== undefined && isTooMuch(); { oldest } = list) this.#settle(oldest, evictions)
    }
    for (let oldest = this.#oldestSettled(); oldest !== undefined && isTooMuch(); oldest = this.#oldestSettled()) {
      this.#forget(oldest, oldest.state.mayGoOn || this.#followed.has(oldest.stream), evictions)
    }
  }

  /** Shrinks the largest streams by the excess, but none below the size at which it counts as large. */
  #shrinkLargest (): void {
    const { maxTotalBytes } = this.#options
    while (this.#bytes > maxTotalBytes) {
      let largest: Kept | undefined
      for (const kept of this.#large) if (largest === undefined || kept.state.bytes > largest.state.bytes) largest = kept
      if (largest === undefined) return
      const before = largest.state.bytes
      const target = before - (this.#bytes - maxTotalBytes)
      this.#change(largest, (state) => { state.shrink(Math.max(target, this.#largeBytes)) })
      // Nothing more can be evicted from it until it is published to.
      if (largest.state.bytes === before) this.#large.delete(largest)
    }
  }

  /**
   * Forgets streams while there are too many. A few steps are enough, because each call precedes one new stream. To bound
   * memory in any case, streams with a running job are forgotten too once they have doubled the number. Their texts then
   * continue at the right offset, without a beginning.
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

  /**
   * Forgets what a stream keeps. If it `goesOn`, its numbering and its open jobs stay, and it moves to the recently used end of
   * the LRU order.
   */
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

  /** Runs a change of a stream, and updates the byte count and the set of large streams. */
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

  /** Marks a stream as used now, and appends it to a list. */
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
    // Hashing a name costs time, and usually nothing was forgotten.
    return this.#past.size === 0 ? undefined : this.#past.get(group(stream))
  }
}

/** Returns a stream's bucket: FNV-1a over the UTF-16 units of its name. It is cheap, and only its distribution matters. */
function group (stream: Stream): number {
  let hash = 0x811c9dc5
  for (let i = 0; i < stream.length; i++) hash = Math.imul(hash ^ stream.charCodeAt(i), 0x01000193)
  return (hash >>> 0) % LIFE_GROUPS
}
