import { randomUUID } from 'node:crypto'
import type { Clock, Timer } from '../clock.js'
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

/**
 * The streams that were published to, within bounds. A stream is *fresh* until `ttlMs` after its latest message, then
 * *settled*: only its jobs' state is left. After `endTtlMs` it is forgotten, unless somebody follows it. Under pressure
 * the same happens earlier, to the least recently published first; only that a job of which more may come is not forgotten
 * for want of bytes, since a text that began anew in its middle would be taken for the whole.
 */
export class Streams {
  readonly #options: StreamsOptions
  readonly #process = randomUUID().slice(0, 8)
  /**
   * Each in the order in which they were touched, the oldest first. The settled ones are two: those that settled in their turn, and
   * those that count as young again since, because their last follower left; together they would have no order.
   */
  readonly #fresh = new Map<Stream, StreamState>()
  readonly #settled = new Map<Stream, StreamState>()
  readonly #rested = new Map<Stream, StreamState>()
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
    return this.#fresh.size + this.#settled.size + this.#rested.size
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
    const state = this.#settled.get(stream) ?? this.#rested.get(stream)
    if (state !== undefined) this.#rest(stream, state)
  }

  find (stream: Stream): StreamState | undefined {
    return this.#fresh.get(stream) ?? this.#settled.get(stream) ?? this.#rested.get(stream)
  }

  /** Publishes to a stream, made if need be, and keeps everything within its bounds. */
  update<T> (stream: Stream, publish: (state: StreamState) => T): T {
    let state = this.find(stream)
    if (state === undefined) {
      this.#makeRoom()
      state = new StreamState(this.#nextEpoch(stream), this.#options)
    }
    this.#rest(stream, state, this.#fresh)
    const before = state.bytes
    const result = publish(state)
    this.#bytes += state.bytes - before
    this.#relieve()
    this.#sweep ??= this.#sweepLater()
    return result
  }

  clear (): void {
    this.#sweep?.cancel()
    this.#fresh.clear()
    this.#settled.clear()
    this.#rested.clear()
    this.#followed.clear()
    this.#bytes = 0
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
    for (const [stream, state] of this.#fresh) {
      if (now - state.touchedAt < ttlMs) break
      this.#settle(stream, state)
    }
    for (const [stream, state] of this.#oldestSettled()) {
      if (now - state.touchedAt < endTtlMs) break
      this.#forget(stream, state, this.#followed.has(stream))
    }
  }

  /** Messages go first, then what jobs left behind: a job's end is what people wait for. */
  #relieve (): void {
    const { maxTotalBytes } = this.#options
    if (this.#bytes <= maxTotalBytes) return
    for (const [stream, state] of this.#fresh) {
      if (this.#bytes <= maxTotalBytes) break
      this.#settle(stream, state)
    }
    for (const [stream, state] of this.#oldestSettled()) {
      if (this.#bytes <= maxTotalBytes) break
      this.#forget(stream, state, this.#followed.has(stream) || state.mayGoOn)
    }
  }

  /**
   * One that is followed is passed over, and counts as young again: to empty it would make no room. So it takes some
   * steps; few are enough, since each call makes one stream.
   */
  #makeRoom (): void {
    for (let steps = 0; steps < 8 && this.size >= this.#options.maxStreams + this.#followed.size; steps++) {
      const isFresh = this.#fresh.size === this.size
      for (const [stream, state] of isFresh ? this.#fresh : this.#oldestSettled()) {
        if (this.#followed.has(stream)) {
          this.#rest(stream, state, isFresh ? this.#fresh : this.#rested)
        } else {
          this.#settle(stream, state)
          this.#forget(stream, state, false)
        }
        break
      }
    }
  }

  /** Those that have settled, the oldest first. Each may be removed, or put elsewhere, before the next is asked for. */
  * #oldestSettled (): Generator<readonly [Stream, StreamState]> {
    for (;;) {
      const [settled, rested] = [this.#settled, this.#rested].map((map) => map.entries().next().value)
      const oldest = settled === undefined || (rested !== undefined && rested[1].touch < settled[1].touch) ? rested : settled
      if (oldest === undefined) return
      yield oldest
    }
  }

  #settle (stream: Stream, state: StreamState): void {
    const before = state.bytes
    state.settle()
    this.#bytes += state.bytes - before
    this.#fresh.delete(stream)
    this.#settled.set(stream, state)
  }

  /** Of a stream that `goesOn` the numbers do, and what runs in it; and it counts as young again. */
  #forget (stream: Stream, state: StreamState, goesOn: boolean): void {
    this.#bytes -= state.bytes
    if (goesOn) {
      state.empty()
      this.#rest(stream, state)
    } else {
      this.#settled.delete(stream)
      this.#rested.delete(stream)
      this.#lives.set(group(stream), this.#life(stream) + 1)
    }
  }

  /** It counts as young from now on, among the settled ones that do unless told. */
  #rest (stream: Stream, state: StreamState, among = this.#rested): void {
    // In one of them at most, and mostly the first.
    if (!this.#fresh.delete(stream) && !this.#settled.delete(stream)) this.#rested.delete(stream)
    state.touchedAt = this.#options.clock.monotonic()
    state.touch = ++this.#touches
    among.set(stream, state)
  }

  #nextEpoch (stream: Stream): string {
    return this.#followed.get(stream) ?? `${this.#process}.${this.#life(stream).toString(36)}`
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
