import { FRAGMENT_BYTES, joinBytes, Frame, type FrameSource } from './frame.js'
import type { Backlogged, OutboxPool } from './outbox-pool.js'
import { Pings } from './pings.js'
import type { Transport } from './transport.js'

/**
 * Maximum number of bytes in one write to a socket. Pings wait behind it, so it is small: behind 1 MiB, the pong of a slow but
 * live client took half a minute.
 */
export const WRITE_AHEAD_BYTES = FRAGMENT_BYTES

const OPEN = 1

/** Estimated memory of a queued frame source, in bytes. It holds no frames yet. */
const SOURCE_BYTES = 512

/** An item for an outbox: a frame, or a source that makes frames when their turn comes. */
export type Outgoing = Frame | FrameSource

interface QueuedItem {
  readonly item: Outgoing
  /** Offset in the job's text that the client has reached. Below the frame's own offset if it replaced frames with text. */
  readonly from: number | undefined
}

/** A frame that is being written to the socket, fragment by fragment if it is long. */
interface InFlight {
  readonly frame: Frame
  readonly bytes: Buffer
  /** Bytes written so far. */
  written: number
  /** Whether the pool counts it as a large frame; otherwise `counted` is the number of bytes that the pool counts for it. */
  isLarge: boolean
  counted: number
}

/** What is queued for a client that is behind. */
interface Backlog {
  /** Items that have not had to wait yet. They precede `items`. */
  fresh: readonly Outgoing[]
  freshAt: number
  /** Queued items in order. The key is a frame's collapse key, or a unique number. */
  readonly items: Map<string | number, QueuedItem>
  nextKey: number
  /** Bytes of the items, without the large one. */
  bytes: number
  /** The one item that may be queued although it alone exceeds `maxOutboxBytes`. */
  large: Frame | undefined
  /** What is being written. It is no longer in `items`. */
  source: FrameSource | undefined
  inFlight: InFlight | undefined
  /** When the client last read something, as a drained socket or a pong shows. */
  lastReadAt: number
}

/**
 * The outgoing queue of one connection. While the client keeps up, frames go straight to the socket. Otherwise they are queued
 * here within limits, and the newest progress of a job replaces older ones.
 */
export class Outbox implements Backlogged {
  readonly transport: Transport
  /** Set when the socket drains. The heartbeat resets it: a client that reads is alive. */
  hasDrained = false
  /** Called when the client is a slow consumer. By then the outbox is closed and its memory is free. */
  readonly #onSlowConsumer: () => void
  readonly #pool: OutboxPool
  readonly #pings: Pings
  #backlog: Backlog | undefined
  #finished: (() => void) | undefined
  #closed = false

  constructor (transport: Transport, pool: OutboxPool, onSlowConsumer: () => void) {
    this.transport = transport
    this.#pool = pool
    this.#pings = new Pings(transport)
    this.#onSlowConsumer = onSlowConsumer
  }

  /** Whether it accepts no more items. */
  get closed (): boolean {
    return this.#closed
  }

  /** Bytes of memory that closing it would free. */
  get freeableBytes (): number {
    if (this.#backlog === undefined) return 0
    const { bytes, large, inFlight } = this.#backlog
    const held = (large === undefined ? 0 : this.#pool.shareOf(large)) + (inFlight?.isLarge === true ? this.#pool.shareOf(inFlight.frame) : 0)
    return bytes + held + (inFlight?.counted ?? 0)
  }

  /** Bytes that are queued here. */
  get queuedBytes (): number {
    if (this.#backlog === undefined) return 0
    const { bytes, large, inFlight } = this.#backlog
    return bytes + (large === undefined ? 0 : this.#lengthOf(large)) + (inFlight === undefined ? 0 : inFlight.bytes.length - inFlight.written)
  }

  /** Bytes that are queued here and in the socket. */
  get bufferedBytes (): number {
    return this.transport.bufferedBytes + this.queuedBytes
  }

  /** Whether anything is queued here. */
  get isBehind (): boolean {
    return this.#backlog !== undefined
  }

  /** How long the client has read nothing while something was queued here, in milliseconds. */
  get stalledMs (): number {
    return this.#backlog === undefined ? 0 : this.#pool.monotonic() - this.#backlog.lastReadAt
  }

  /** Sends a ping, if the transport supports it. */
  ping (payload: Buffer): void {
    this.#pings.send(payload)
  }

  /** Handles a pong. Returns whether it may answer a ping that was sent. */
  handlePong (payload: Buffer): boolean {
    const pong = this.#pings.handlePong(payload)
    if (pong === 'read' && this.#backlog !== undefined) this.#backlog.lastReadAt = this.#pool.monotonic()
    return pong !== 'unsolicited'
  }

  /** Writes frames that the caller has already joined. Returns `false` if they can't be sent at once; then call `write`. */
  writeJoined (bytes: Buffer, frames: readonly Frame[]): boolean {
    if (this.#closed) return true
    if (this.#backlog !== undefined || this.transport.full || bytes.length > WRITE_AHEAD_BYTES) return false
    this.transport.write(bytes, frames)
    this.#pool.sent += frames.length
    this.#pings.probe(bytes.length, false)
    return true
  }

  /** Writes as much as the socket has room for, and queues the rest. */
  write (items: readonly Outgoing[]): void {
    if (this.#closed || items.length === 0 || this.#writeAtOnce(items)) return
    if (this.#backlog === undefined) {
      this.#backlog = this.#createBacklog(items)
      this.#pump()
    } else {
      this.#enqueueAll(items)
    }
  }

  /** Accepts no more items, and calls back when the queue was written to the socket. Never calls back if closed before. */
  finish (finished: () => void): void {
    this.#closed = true
    if (this.#backlog === undefined) finished()
    else this.#finished = finished
  }

  /** Accepts no more items, and discards the queue. */
  close (): void {
    this.#closed = true
    if (this.#backlog === undefined) return
    const { items, bytes, large, inFlight } = this.#backlog
    this.#pool.queuedBytes -= bytes
    this.#pool.dropped += items.size + (inFlight === undefined ? 0 : 1)
    if (large !== undefined) this.#pool.releaseLarge(large)
    if (inFlight !== undefined) this.#uncountInFlight(inFlight)
    this.#clearBacklog()
  }

  /** Closes the outbox of a slow consumer. The queue is discarded, because it would only delay the close frame. */
  closeAsSlow (): void {
    this.#pool.slowConsumers++
    this.close()
    // A `finish` may be waiting for the queue that was just discarded.
    this.#finished?.()
    this.#onSlowConsumer()
  }

  /** Writes frames that fit into one write, as nearly always. Returns `false` if they can't be sent at once. */
  #writeAtOnce (items: readonly Outgoing[]): boolean {
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
    this.#pings.probe(bytes, false)
    return true
  }

  #enqueueAll (items: readonly Outgoing[]): void {
    for (const item of items) if (this.#backlog !== undefined) this.#enqueue(this.#backlog, item)
  }

  #enqueue (backlog: Backlog, item: Outgoing): void {
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
    pool.makeRoom(isLarge ? pool.neededBytes(item) : length)
    // The pool may have closed this outbox to make room.
    if (this.#closed) {
      pool.dropped++
      return
    }
    backlog.items.set(key ?? backlog.nextKey++, { item, from })
    if (isLarge) {
      backlog.large = item
      pool.holdLarge(item)
    } else {
      backlog.bytes += length
      pool.queuedBytes += length
    }
  }

  #createBacklog (fresh: readonly Outgoing[]): Backlog {
    this.#pool.add(this)
    return {
      fresh, freshAt: 0, items: new Map(), nextKey: 0, bytes: 0, large: undefined, source: undefined, inFlight: undefined, lastReadAt: this.#pool.monotonic()
    }
  }

  #clearBacklog (): void {
    this.#backlog = undefined
    this.#pool.delete(this)
  }

  /**
   * Removes the older frame with the same key. The newer one goes to the end of the queue, so that it overtakes nothing.
   * Returns the offset at which the older frame's text began; the text itself is not kept.
   */
  #collapse (backlog: Backlog, key: string): number | undefined {
    const older = backlog.items.get(key)
    if (older === undefined) return undefined
    backlog.items.delete(key)
    this.#pool.collapsed++
    if (this.#release(backlog, older.item)) this.#pool.releaseLarge(older.item as Frame)
    return older.from
  }

  /** Uncounts an item that leaves the queue. Returns whether it was the large one, which the pool still counts. */
  #release (backlog: Backlog, item: Outgoing): boolean {
    if (item === backlog.large) {
      backlog.large = undefined
      return true
    }
    const length = this.#lengthOf(item)
    backlog.bytes -= length
    this.#pool.queuedBytes -= length
    return false
  }

  #lengthOf (item: Outgoing): number {
    return item instanceof Frame ? item.bytes(this.transport.inflates).length : SOURCE_BYTES
  }

  /** Writes as much of the queue as the socket has room for, in order. */
  #pump (): void {
    for (let backlog = this.#backlog; backlog !== undefined; backlog = this.#backlog) {
      if (this.transport.state !== OPEN) {
        // The peer has closed the connection.
        this.close()
      } else if (isEmpty(backlog)) {
        this.#clearBacklog()
        this.#finished?.()
      } else if (this.transport.full) {
        this.#awaitDrain()
        this.#countInFlight(backlog)
        const fresh = backlog.fresh.slice(backlog.freshAt)
        backlog.fresh = []
        this.#enqueueAll(fresh)
        return
      } else {
        this.#writeSome(backlog)
      }
    }
  }

  #awaitDrain (): void {
    this.transport.onceDrained(() => {
      if (this.#backlog === undefined) return
      this.#backlog.lastReadAt = this.#pool.monotonic()
      this.hasDrained = true
      this.#pump()
    })
  }

  /** Writes up to `WRITE_AHEAD_BYTES` at once. */
  #writeSome (backlog: Backlog): void {
    const frames: Frame[] = []
    const parts: Buffer[] = []
    let bytes = 0
    for (;;) {
      const inFlight = backlog.inFlight ??= this.#takeNext(backlog, bytes === 0 ? Infinity : WRITE_AHEAD_BYTES - bytes)
      if (inFlight === undefined) break
      const part = inFlight.bytes.subarray(inFlight.written, inFlight.written + FRAGMENT_BYTES)
      if (bytes > 0 && bytes + part.length > WRITE_AHEAD_BYTES) break
      if (inFlight.written === 0 && inFlight.bytes.length > FRAGMENT_BYTES && this.transport.announcesLargeMessages) parts.push(this.#announce(inFlight))
      parts.push(part)
      bytes += part.length
      inFlight.written += part.length
      if (inFlight.written < inFlight.bytes.length) continue
      frames.push(inFlight.frame)
      this.#uncountInFlight(inFlight)
      backlog.inFlight = undefined
    }
    // A source may turn out to be empty.
    if (bytes === 0) return
    this.transport.write(joinBytes(parts), frames)
    this.#pool.sent += frames.length
    this.#pings.probe(bytes, true)
  }

  /** Counts the frame that is being written as queued, because the socket is full. */
  #countInFlight ({ inFlight }: Backlog): void {
    if (inFlight === undefined || inFlight.isLarge || inFlight.counted > 0) return
    const { frame, bytes: { length } } = inFlight
    const pool = this.#pool
    const isLarge = length > pool.maxOutboxBytes
    pool.makeRoom(isLarge ? pool.neededBytes(frame) : length)
    // The pool may have closed this outbox to make room.
    if (this.#backlog === undefined) return
    if (isLarge) {
      inFlight.isLarge = true
      pool.holdLarge(frame)
    } else {
      inFlight.counted = length
      pool.queuedBytes += length
    }
  }

  #uncountInFlight ({ frame, isLarge, counted }: InFlight): void {
    if (isLarge) this.#pool.releaseLarge(frame)
    this.#pool.queuedBytes -= counted
  }

  /** Removes the next frame from the backlog. Returns undefined if there is none, or if its first fragment needs more room. */
  #takeNext (backlog: Backlog, room: number): InFlight | undefined {
    for (;;) {
      const frame = backlog.source?.next()
      if (frame !== undefined) return this.#toInFlight(frame)
      backlog.source = undefined
      const next = peek(backlog)
      if (next === undefined) return undefined
      const { key, item, source } = next
      if (source === undefined && Math.min(this.#lengthOf(item), FRAGMENT_BYTES) > room) return undefined
      const isLarge = key !== undefined && this.#release(backlog, item)
      if (key === undefined) backlog.freshAt++
      else backlog.items.delete(key)
      if (source === undefined) return this.#toInFlight(item as Frame, isLarge)
      if (isLarge) this.#pool.releaseLarge(item as Frame)
      backlog.source = source
    }
  }

  #toInFlight (frame: Frame, isLarge = false): InFlight {
    return { frame, bytes: frame.bytes(this.transport.inflates), written: 0, isLarge, counted: 0 }
  }

  /** Returns the announcement of a long message. Until its end, the client has no other sign that it is arriving. */
  #announce ({ bytes }: InFlight): Buffer {
    const message = { type: 'large_message', bytes: bytes.length, timestamp: this.#pool.timestamp() }
    return new Frame(JSON.stringify(message)).bytes(false)
  }
}

function isEmpty ({ inFlight, source, fresh, freshAt, items }: Backlog): boolean {
  return inFlight === undefined && source === undefined && freshAt >= fresh.length && items.size === 0
}

/** Returns the next item to write, and its source if it is made of several frames. Only items that had to wait have a key. */
function peek ({ fresh, freshAt, items }: Backlog): { key?: string | number, item: Outgoing, source: FrameSource | undefined } | undefined {
  const first = fresh[freshAt]
  if (first !== undefined) return { item: first, source: first instanceof Frame ? undefined : first }
  for (const [key, { item, from }] of items) return { key, item, source: item instanceof Frame ? catchUp(item, from) : item }
  return undefined
}

/** Returns a source that repeats the text of the frames that a frame replaced, if there were any with text. */
function catchUp ({ piece }: Frame, from: number | undefined): FrameSource | undefined {
  return piece === undefined || from === undefined || from === piece.from ? undefined : piece.startingAt(from)
}
