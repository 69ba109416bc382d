import { randomUUID } from 'node:crypto'
import type { Clock, Timer } from '../util/clock.js'
import { LruList, type LruItem } from './lru-list.js'
import type { Evicted, Joined, Position, Stream } from './broker.js'
import { Evictions, type EvictionLog } from './evictions.js'
import { PublicationFactory, UNIT_BYTES } from './kept-publication.js'
import { StreamState, type StreamContext, type StreamLimits } from './stream-state.js'

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
const HASH_BUCKETS = 16_384
/** What is remembered of the forgotten streams of one bucket. */
interface ForgottenStreams {
  /** How many were forgotten. It is part of the epoch of the bucket's next stream. */
  readonly count: number
  /** Length of the longest text that was forgotten before its job had ended for good, in UTF-16 units. */
  readonly lostUnits: number
}

/** How often the store looks for expired streams, per `ttlMs`. */
const SWEEPS_PER_TTL = 10

/** A stream that was published to, and its place in the LRU order. */
class StoredStream implements LruItem<StoredStream> {
  readonly stream: Stream
  readonly state: StreamState
  /** Time of the last publish or unsubscribe, and its sequence number (used for LRU order). */
  lastUsedAt = 0
  lastUse = 0
  /** Whether its messages were discarded. */
  isTrimmed = false
  /** The same as whether `#subscribed` has it, without a look-up for each publish (benchmark row `sessions`). */
  isSubscribed: boolean
  list: LruList<StoredStream> | undefined
  older: StoredStream | undefined
  younger: StoredStream | undefined

  constructor (stream: Stream, state: StreamState, isSubscribed: boolean) {
    this.stream = stream
    this.state = state
    this.isSubscribed = isSubscribed
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
  readonly #kept = new Map<Stream, StoredStream>()
  /**
   * Each list is in LRU order. Trimmed streams are in two lists: those trimmed in order of age, and those used again after
   * that, because their last subscriber left. One list of both would not be in order.
   */
  readonly #fresh = new LruList<StoredStream>()
  readonly #trimmed = new LruList<StoredStream>()
  readonly #trimmedThenUsed = new LruList<StoredStream>()
  /**
   * Streams that eviction skipped, because they had subscribers or a running job. They stay here until they are used again or
   * trimmed.
   */
  readonly #skipped = { subscribed: new LruList<StoredStream>(), running: new LruList<StoredStream>() }
  readonly #large = new Set<StoredStream>()
  /** Streams with subscribers, and the epoch that these were sent. It stays valid if the stream is created later. */
  readonly #subscribed = new Map<Stream, string>()
  readonly #forgotten = new Map<number, ForgottenStreams>()
  readonly #context: StreamContext
  readonly #evictions: Evictions
  readonly #largeBytes: number
  #bytes = 0
  #uses = 0
  #sweep: Timer | undefined

  constructor (options: StreamStoreOptions) {
    const { maxMessages, maxBytes, maxTotalBytes, deflateFromBytes } = options
    const [maxMessageBytes, maxStreamBytes] = [maxTotalBytes * MESSAGE_SHARE, maxTotalBytes * STREAM_SHARE]
    const maxTextUnits = Math.min(options.maxTextUnits, Math.floor(maxStreamBytes * TEXT_SHARE / UNIT_BYTES))
    this.#options = options
    this.#largeBytes = maxTotalBytes * LARGE_SHARE
    this.#evictions = new Evictions(options)
    this.#context = {
      bounds: { maxMessages, maxBytes, maxTextUnits, maxMessageBytes, maxStreamBytes },
      factory: new PublicationFactory({ maxMessageBytes, deflateFromBytes }),
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

  /** Marks a stream as having subscribers, and returns what a subscriber missed since a position. */
  join (stream: Stream, since: Position | undefined): Joined {
    const kept = this.#kept.get(stream)
    const epoch = kept?.state.epoch ?? this.#nextEpoch(stream)
    this.#subscribed.set(stream, epoch)
    if (kept !== undefined) {
      kept.isSubscribed = true
      return kept.state.join(since)
    }
    const recovered = since?.epoch === epoch && since.seq === 0
    return { epoch, seq: 0, revision: 0, replay: [], recovered, reason: recovered ? undefined : since === undefined ? 'new' : 'restarted' }
  }

  /** Marks a stream as having no subscribers. Counts as a use, so that their positions stay valid for the full lifetime. */
  unsubscribe (stream: Stream): void {
    this.#subscribed.delete(stream)
    const kept = this.#kept.get(stream)
    if (kept !== undefined) kept.isSubscribed = false
    if (kept !== undefined && kept.list !== this.#fresh) this.#markUsed(kept, kept.isTrimmed ? this.#trimmedThenUsed : this.#fresh)
  }

  find (stream: Stream): StreamState | undefined {
    return this.#kept.get(stream)?.state
  }

  /** Publishes to a stream, creates it if necessary, and then enforces the limits. */
  update<T> (stream: Stream, publish: (state: StreamState, isSubscribed: boolean) => T): T {
    const kept = this.#kept.get(stream) ?? this.#create(stream)
    this.#markUsed(kept, this.#fresh)
    kept.isTrimmed = false
    const result = this.#change(kept, (state) => publish(state, kept.isSubscribed))
    this.#evictBytes()
    this.#evictions.report()
    this.#sweep ??= this.#sweepLater()
    return result
  }

  clear (): void {
    this.#sweep?.cancel()
    for (const kept of this.#kept.values()) kept.list?.remove(kept)
    this.#kept.clear()
    this.#large.clear()
    this.#subscribed.clear()
    this.#bytes = 0
    this.#evictions.close()
  }

  #create (stream: Stream): StoredStream {
    this.#evictStreams()
    const kept = new StoredStream(stream, new StreamState(stream, this.#nextEpoch(stream), this.#context, this.#forgottenLike(stream)?.lostUnits), this.#subscribed.has(stream))
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
    for (let { oldest } = this.#fresh; oldest !== undefined && now - oldest.lastUsedAt >= ttlMs; { oldest } = this.#fresh) this.#trim(oldest)
    for (let oldest = this.#oldestTrimmed(); oldest !== undefined && now - oldest.lastUsedAt >= endTtlMs; oldest = this.#oldestTrimmed()) {
      this.#forget(oldest, this.#subscribed.has(oldest.stream))
    }
    for (const kept of [...this.#skipped.running, ...this.#skipped.subscribed]) {
      const ageMs = now - kept.lastUsedAt
      if (ageMs >= ttlMs && !kept.isTrimmed) this.#trim(kept)
      if (ageMs >= endTtlMs) this.#forget(kept, this.#subscribed.has(kept.stream))
    }
  }

  #evictBytes (): void {
    const { maxTotalBytes } = this.#options
    if (this.#bytes <= maxTotalBytes) return
    const evictions = this.#evictions
    const isTooMuch = (): boolean => this.#bytes > maxTotalBytes
    this.#shrinkLargest()
    // The skipped streams were last used before the fresh ones.
    for (const list of [this.#skipped.running, this.#skipped.subscribed, this.#fresh]) {
      for (let { oldest } = list; oldest !== undefined && isTooMuch(); { oldest } = list) this.#trim(oldest, evictions)
    }
    for (let oldest = this.#oldestTrimmed(); oldest !== undefined && isTooMuch(); oldest = this.#oldestTrimmed()) {
      this.#forget(oldest, oldest.state.hasOpenJobs || this.#subscribed.has(oldest.stream), evictions)
    }
  }

  /** Shrinks the largest streams by the excess, but none below the size at which it counts as large. */
  #shrinkLargest (): void {
    const { maxTotalBytes } = this.#options
    while (this.#bytes > maxTotalBytes) {
      let largest: StoredStream | undefined
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
  #evictStreams (): void {
    const { maxStreams } = this.#options
    const { subscribed, running } = this.#skipped
    const most = maxStreams + this.#subscribed.size
    for (let steps = 0, oldest = this.#oldest(); steps < 8 && oldest !== undefined && this.size >= most; steps++, oldest = this.#oldest()) {
      if (this.#subscribed.has(oldest.stream)) subscribed.add(oldest)
      else if (oldest.state.hasOpenJobs) running.add(oldest)
      else this.#forget(oldest, false, this.#evictions)
    }
    for (let steps = 0, { oldest } = running; steps < 8 && oldest !== undefined && this.size >= most + maxStreams; steps++, { oldest } = running) {
      if (this.#subscribed.has(oldest.stream)) subscribed.add(oldest)
      else this.#forget(oldest, false, this.#evictions)
    }
  }

  #oldest (): StoredStream | undefined {
    return this.#oldestTrimmed() ?? this.#fresh.oldest
  }

  #oldestTrimmed (): StoredStream | undefined {
    const [{ oldest: trimmed }, { oldest: used }] = [this.#trimmed, this.#trimmedThenUsed]
    return trimmed === undefined || (used !== undefined && used.lastUse < trimmed.lastUse) ? used : trimmed
  }

  #trim (kept: StoredStream, evictions?: Evictions): void {
    this.#change(kept, (state) => { state.trim(evictions) })
    kept.isTrimmed = true
    this.#trimmed.add(kept)
  }

  /**
   * Forgets what a stream keeps. If it `continues`, its numbering and its open jobs stay, and it moves to the recently used end of
   * the LRU order.
   */
  #forget (kept: StoredStream, continues: boolean, evictions?: Evictions): void {
    const { stream, state } = kept
    const { openUnits } = state
    this.#change(kept, () => { state.clear(evictions) })
    kept.isTrimmed = true
    if (continues) {
      this.#markUsed(kept, this.#trimmedThenUsed)
      return
    }
    kept.list?.remove(kept)
    this.#kept.delete(stream)
    const { count, lostUnits } = this.#forgottenLike(stream) ?? { count: 0, lostUnits: 0 }
    this.#forgotten.set(bucketOf(stream), { count: count + 1, lostUnits: Math.max(lostUnits, openUnits) })
    evictions?.add('streams')
  }

  /** Runs a change of a stream, and updates the byte count and the set of large streams. */
  #change<T> (kept: StoredStream, change: (state: StreamState) => T): T {
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
  #markUsed (kept: StoredStream, list: LruList<StoredStream>): void {
    kept.lastUsedAt = this.#options.clock.monotonic()
    kept.lastUse = ++this.#uses
    list.add(kept)
  }

  #nextEpoch (stream: Stream): string {
    const announced = this.#subscribed.get(stream)
    if (announced !== undefined) return announced
    const count = this.#forgottenLike(stream)?.count
    return count === undefined ? this.#firstEpoch : `${this.#process}.${count.toString(36)}`
  }

  #forgottenLike (stream: Stream): ForgottenStreams | undefined {
    // Hashing a name costs time, and usually nothing was forgotten.
    return this.#forgotten.size === 0 ? undefined : this.#forgotten.get(bucketOf(stream))
  }
}

/** Returns a stream's bucket: FNV-1a over the UTF-16 units of its name. It is cheap, and only its distribution matters. */
function bucketOf (stream: Stream): number {
  let hash = 0x811c9dc5
  for (let i = 0; i < stream.length; i++) hash = Math.imul(hash ^ stream.charCodeAt(i), 0x01000193)
  return (hash >>> 0) % HASH_BUCKETS
}
