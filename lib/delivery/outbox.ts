import { randomBytes } from 'node:crypto'
import { FRAGMENT_BYTES, joinBytes, Frame, type FrameSource } from './frame.js'
import type { Backlogged, OutboxPool } from './outbox-pool.js'
import type { Transport } from './transport.js'

/**
 * How much is handed to a socket ahead of its reader. A ping waits behind it, so it is small: behind 1 MiB, a slow but
 * living reader's pong took half a minute.
 */
export const WRITE_AHEAD_BYTES = FRAGMENT_BYTES

/**
 * A ping goes out behind each write that brings the bytes since the last ping to this number, while the reader is behind. The
 * kernel takes megabytes at once, for which a slow reader needs minutes: all the time its pongs show that it lives and reads.
 */
const PING_EVERY_BYTES = FRAGMENT_BYTES / 2
/** The same for a reader that is not behind: what it is sent may lie in the kernel, and few pings are enough. */
const PING_ALWAYS_BYTES = 4 * FRAGMENT_BYTES
/** Pings whose answers are waited for at most: the latest ones. */
const MAX_PROBES = 64
const PROBE_BYTES = 8
const NO_PROBES: readonly string[] = []

const OPEN = 1

/** What a source of frames counts as while it waits, in bytes: it has no frames of its own. */
const SOURCE_BYTES = 512

/** What an outbox takes: a frame, or frames that are made when their turn comes. */
export type Outgoing = Frame | FrameSource

interface Waiting {
  readonly item: Outgoing
  /** Where in its text the reader is: earlier than the frame begins, if frames that it replaced brought text. */
  readonly from: number | undefined
}

/** A frame that is being handed over, a fragment at a time if it is long. */
interface Begun {
  readonly frame: Frame
  readonly bytes: Buffer
  /** How much of it was handed over, in bytes. */
  written: number
  /** Whether the pool holds it as a large one, and otherwise how many bytes of it the pool counts. */
  isLarge: boolean
  counted: number
}

/** Exists only while something waits. */
interface Backlog {
  /** What has not had to wait yet, before the items. */
  fresh: readonly Outgoing[]
  freshAt: number
  /** In order. A collapsible frame is found by its key, any other item has a number of its own. */
  readonly items: Map<string | number, Waiting>
  nextKey: number
  /** Bytes of the items, but for the large one. */
  bytes: number
  /** The item that may wait although it alone is above the bound. */
  large: Frame | undefined
  /** What is being handed over: no longer an item. */
  source: FrameSource | undefined
  begun: Begun | undefined
  /** When its reader last took something, or showed that it had. */
  takenAt: number
}

/**
 * One connection's way out. While the reader keeps up, frames go straight to the socket; otherwise they wait here,
 * within bounds, the newest progress replacing older.
 */
export class Outbox implements Backlogged {
  readonly transport: Transport
  /** Whether the reader has taken something that had waited since this was last set to false: it lives. */
  hasTaken = false
  /** Called when its reader is too slow. By then the outbox is closed and its memory free. */
  readonly #onShed: () => void
  readonly #pool: OutboxPool
  #backlog: Backlog | undefined
  #finished: (() => void) | undefined
  #closed = false
  #unpinged = 0
  /** Payloads of the outbox's own pings that were not answered yet. */
  #probes = NO_PROBES
  /** Pings that were sent and not answered yet. */
  #unanswered = 0

  constructor (transport: Transport, pool: OutboxPool, onShed: () => void) {
    this.transport = transport
    this.#pool = pool
    this.#onShed = onShed
  }

  /** Whether it takes nothing more. */
  get closed (): boolean {
    return this.#closed
  }

  /** Bytes of memory that closing it would free now. */
  get freeableBytes (): number {
    if (this.#backlog === undefined) return 0
    const { bytes, large, begun } = this.#backlog
    const held = (large === undefined ? 0 : this.#pool.shareOf(large)) + (begun?.isLarge === true ? this.#pool.shareOf(begun.frame) : 0)
    return bytes + held + (begun?.counted ?? 0)
  }

  /** Bytes that wait for the reader here. */
  get waitingBytes (): number {
    if (this.#backlog === undefined) return 0
    const { bytes, large, begun } = this.#backlog
    return bytes + (large === undefined ? 0 : this.#lengthOf(large)) + (begun === undefined ? 0 : begun.bytes.length - begun.written)
  }

  /** The same and those in the socket. */
  get bufferedBytes (): number {
    return this.transport.bufferedBytes + this.waitingBytes
  }

  /** Whether something waits for the reader here. */
  get behind (): boolean {
    return this.#backlog !== undefined
  }

  /** For how long the reader has taken nothing while something waited here, in milliseconds. */
  get stalledMs (): number {
    return this.#backlog === undefined ? 0 : this.#pool.monotonic() - this.#backlog.takenAt
  }

  /** Sends a ping, where somebody would answer it. */
  ping (payload: Buffer): void {
    if (this.transport.ping === undefined) return
    this.#unanswered++
    this.transport.ping(payload)
  }

  /**
   * A pong came. Returns whether a ping may have asked for it. If it answers one of the outbox's own pings, whose payloads can't
   * be guessed, the reader has read what was sent before that ping.
   */
  ponged (payload: Buffer): boolean {
    if (this.#unanswered === 0) return false
    this.#unanswered--
    const answered = this.#probes.indexOf(payload.toString('latin1'))
    if (answered < 0) return true
    // A peer may answer only the latest of several pings (RFC 6455, section 5.5.3).
    this.#probes = this.#probes.slice(answered + 1)
    if (this.#backlog !== undefined) this.#backlog.takenAt = this.#pool.monotonic()
    return true
  }

  /** Writes frames that the caller has joined already. False when they can't go at once: then `write` them. */
  writeJoined (bytes: Buffer, frames: readonly Frame[]): boolean {
    if (this.#closed) return true
    if (this.#backlog !== undefined || this.transport.full || bytes.length > WRITE_AHEAD_BYTES) return false
    this.transport.write(bytes, frames)
    this.#pool.sent += frames.length
    this.#probe(bytes.length, PING_ALWAYS_BYTES)
    return true
  }

  /** Writes what the reader has room for; the rest waits. */
  write (items: readonly Outgoing[]): void {
    if (this.#closed || items.length === 0 || this.#writeTogether(items)) return
    if (this.#backlog === undefined) {
      this.#backlog = this.#fallBehind(items)
      this.#pump()
    } else {
      this.#waitAll(items)
    }
  }

  /** Takes nothing more, and calls back when what waits has been handed over; never, if it is closed before. */
  finish (finished: () => void): void {
    this.#closed = true
    if (this.#backlog === undefined) finished()
    else this.#finished = finished
  }

  /** Takes nothing more, and lets go of what waits. */
  close (): void {
    this.#closed = true
    if (this.#backlog === undefined) return
    const { items, bytes, large, begun } = this.#backlog
    this.#pool.waitingBytes -= bytes
    this.#pool.dropped += items.size + (begun === undefined ? 0 : 1)
    if (large !== undefined) this.#pool.release(large)
    if (begun !== undefined) this.#uncount(begun)
    this.#forgetBacklog()
  }

  /** Gives up a reader that is too slow: what waits would only hold up the close frame that says so. */
  closeAsSlow (): void {
    this.#pool.slowConsumers++
    this.close()
    // It may have been closing already, and waited for what is gone now.
    this.#finished?.()
    this.#onShed()
  }

  /** Writes frames that fit into one write, as they nearly always do. False when they can't go at once. */
  #writeTogether (items: readonly Outgoing[]): boolean {
    if (this.#backlog !== undefined || this.transport.full) return false
    const frames: Frame[] = []
    const parts: Buffer[] = []
    let bytes = 0
    for (const item of items) {
      if (!(item instanceof Frame)) return false
      const part = item.bytes(this.transport.inflates)
      bytes += part.length
      if (bytes > WRITE_AHEAD_BYTES) return false
      frames.push(item)
      parts.push(part)
    }
    this.transport.write(joinBytes(parts), frames)
    this.#pool.sent += frames.length
    this.#probe(bytes, PING_ALWAYS_BYTES)
    return true
  }

  #waitAll (items: readonly Outgoing[]): void {
    for (const item of items) if (this.#backlog !== undefined) this.#wait(this.#backlog, item)
  }

  #wait (backlog: Backlog, item: Outgoing): void {
    const pool = this.#pool
    const key = item instanceof Frame ? item.collapseKey : undefined
    const from = key === undefined || !(item instanceof Frame) ? undefined : this.#collapse(backlog, key) ?? item.piece?.from
    const length = this.#lengthOf(item)
    const isLarge = item instanceof Frame && length > pool.maxOutboxBytes && backlog.large === undefined
    const tooMuch = !isLarge && backlog.bytes + length > pool.maxOutboxBytes
    if (tooMuch || length > pool.maxTotalBytes) {
      pool.dropped++
      this.closeAsSlow()
      return
    }
    pool.makeRoom(isLarge ? pool.needed(item) : length)
    // It was the one that had to make room.
    if (this.#closed) {
      pool.dropped++
      return
    }
    backlog.items.set(key ?? backlog.nextKey++, { item, from })
    if (isLarge) {
      backlog.large = item
      pool.hold(item)
    } else {
      backlog.bytes += length
      pool.waitingBytes += length
    }
  }

  #fallBehind (fresh: readonly Outgoing[]): Backlog {
    this.#pool.add(this)
    return {
      fresh, freshAt: 0, items: new Map(), nextKey: 0, bytes: 0, large: undefined, source: undefined, begun: undefined, takenAt: this.#pool.monotonic()
    }
  }

  #forgetBacklog (): void {
    this.#backlog = undefined
    this.#pool.delete(this)
  }

  /**
   * The newer one goes to the end, not into the older one's place: nothing may overtake what was sent before it. Returns
   * where in its text the older one began; only that is remembered, no text.
   */
  #collapse (backlog: Backlog, key: string): number | undefined {
    const older = backlog.items.get(key)
    if (older === undefined) return undefined
    backlog.items.delete(key)
    this.#pool.collapsed++
    if (this.#release(backlog, older.item)) this.#pool.release(older.item as Frame)
    return older.from
  }

  /** The item waits no longer. Returns whether it was the large one: the pool still counts that. */
  #release (backlog: Backlog, item: Outgoing): boolean {
    if (item === backlog.large) {
      backlog.large = undefined
      return true
    }
    const length = this.#lengthOf(item)
    backlog.bytes -= length
    this.#pool.waitingBytes -= length
    return false
  }

  #lengthOf (item: Outgoing): number {
    return item instanceof Frame ? item.bytes(this.transport.inflates).length : SOURCE_BYTES
  }

  /** Hands over what the socket has room for, in order. */
  #pump (): void {
    for (let backlog = this.#backlog; backlog !== undefined; backlog = this.#backlog) {
      if (this.transport.state !== OPEN) {
        // The peer has closed: nothing more reaches it.
        this.close()
      } else if (isEmpty(backlog)) {
        this.#forgetBacklog()
        this.#finished?.()
      } else if (this.transport.full) {
        this.#awaitDrain()
        this.#countBegun(backlog)
        const fresh = backlog.fresh.slice(backlog.freshAt)
        backlog.fresh = []
        this.#waitAll(fresh)
        return
      } else {
        this.#writeSome(backlog)
      }
    }
  }

  #awaitDrain (): void {
    this.transport.onceDrained(() => {
      if (this.#backlog === undefined) return
      this.#backlog.takenAt = this.#pool.monotonic()
      this.hasTaken = true
      this.#pump()
    })
  }

  /** Hands over up to `WRITE_AHEAD_BYTES` in one write. */
  #writeSome (backlog: Backlog): void {
    const frames: Frame[] = []
    const parts: Buffer[] = []
    let bytes = 0
    for (;;) {
      const begun = backlog.begun ??= this.#begin(backlog, bytes === 0 ? Infinity : WRITE_AHEAD_BYTES - bytes)
      if (begun === undefined) break
      const part = begun.bytes.subarray(begun.written, begun.written + FRAGMENT_BYTES)
      if (bytes > 0 && bytes + part.length > WRITE_AHEAD_BYTES) break
      if (begun.written === 0 && begun.bytes.length > FRAGMENT_BYTES && this.transport.isAnnounced) parts.push(this.#announce(begun))
      parts.push(part)
      bytes += part.length
      begun.written += part.length
      if (begun.written < begun.bytes.length) continue
      frames.push(begun.frame)
      this.#uncount(begun)
      backlog.begun = undefined
    }
    // A source may turn out to have nothing.
    if (bytes === 0) return
    this.transport.write(joinBytes(parts), frames)
    this.#pool.sent += frames.length
    this.#probe(bytes, PING_EVERY_BYTES)
  }

  /** Sends a ping behind what was written, if that is enough since the last one. */
  #probe (bytes: number, every: number): void {
    this.#unpinged += bytes
    if (this.#unpinged < every || this.transport.ping === undefined) return
    this.#unpinged = 0
    const payload = randomBytes(PROBE_BYTES)
    this.#probes = [...this.#probes.slice(1 - MAX_PROBES), payload.toString('latin1')]
    this.ping(payload)
  }

  /** What is being handed over has to wait, and counts among all that waits until it has gone. */
  #countBegun ({ begun }: Backlog): void {
    if (begun === undefined || begun.isLarge || begun.counted > 0) return
    const { frame, bytes: { length } } = begun
    const pool = this.#pool
    const isLarge = length > pool.maxOutboxBytes
    pool.makeRoom(isLarge ? pool.needed(frame) : length)
    // It was the one that had to make room.
    if (this.#backlog === undefined) return
    if (isLarge) {
      begun.isLarge = true
      pool.hold(frame)
    } else {
      begun.counted = length
      pool.waitingBytes += length
    }
  }

  #uncount ({ frame, isLarge, counted }: Begun): void {
    if (isLarge) this.#pool.release(frame)
    this.#pool.waitingBytes -= counted
  }

  /** Takes the next frame out of the backlog. Undefined when there is none, or when its first fragment needs more room. */
  #begin (backlog: Backlog, room: number): Begun | undefined {
    for (;;) {
      const frame = backlog.source?.next()
      if (frame !== undefined) return this.#begun(frame)
      backlog.source = undefined
      const next = peek(backlog)
      if (next === undefined) return undefined
      const { key, item, source } = next
      if (source === undefined && Math.min(this.#lengthOf(item), FRAGMENT_BYTES) > room) return undefined
      const isLarge = key !== undefined && this.#release(backlog, item)
      if (key === undefined) backlog.freshAt++
      else backlog.items.delete(key)
      if (source === undefined) return this.#begun(item as Frame, isLarge)
      if (isLarge) this.#pool.release(item as Frame)
      backlog.source = source
    }
  }

  #begun (frame: Frame, isLarge = false): Begun {
    return { frame, bytes: frame.bytes(this.transport.inflates), written: 0, isLarge, counted: 0 }
  }

  /** Tells the peer how much comes, which sees nothing of a long message before its end. */
  #announce ({ bytes }: Begun): Buffer {
    const message = { type: 'large_message', bytes: bytes.length, timestamp: this.#pool.timestamp() }
    return new Frame(JSON.stringify(message)).bytes(false)
  }
}

function isEmpty ({ begun, source, fresh, freshAt, items }: Backlog): boolean {
  return begun === undefined && source === undefined && freshAt >= fresh.length && items.size === 0
}

/** What is to be handed over next: an item, or the source that makes more of it. What has not had to wait has no key. */
function peek ({ fresh, freshAt, items }: Backlog): { key?: string | number, item: Outgoing, source: FrameSource | undefined } | undefined {
  const first = fresh[freshAt]
  if (first !== undefined) return { item: first, source: first instanceof Frame ? undefined : first }
  for (const [key, { item, from }] of items) return { key, item, source: item instanceof Frame ? catchUp(item, from) : item }
  return undefined
}

/** The frame with the text that the frames before it had brought, if it replaced any. */
function catchUp ({ piece }: Frame, from: number | undefined): FrameSource | undefined {
  return piece === undefined || from === undefined || from === piece.from ? undefined : piece.startingAt(from)
}
