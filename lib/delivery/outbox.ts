import { joinBytes, type Frame } from './frame.js'
import type { Transport } from './transport.js'

/**
 * How much is handed to a socket ahead of its reader. A ping waits behind it, so it is small: behind 1 MiB, a slow but
 * living reader's pong took half a minute.
 */
export const WRITE_AHEAD_BYTES = 64 * 1024

/** What all outboxes share: their bounds, and the counters of what became of the messages. */
export class OutboxPool {
  readonly maxOutboxBytes: number
  readonly maxTotalBytes: number
  readonly monotonic: () => number
  /** Bytes that wait in all outboxes now. */
  waitingBytes = 0
  /** Messages handed to sockets. */
  sent = 0
  /** Ephemeral messages that a newer one replaced while their reader was behind. */
  collapsed = 0
  /** Messages that still waited when their connection ended. */
  dropped = 0
  /** Connections closed because their reader was too slow. */
  shed = 0

  constructor (options: { maxOutboxBytes: number, maxTotalBytes: number, monotonic: () => number }) {
    this.maxOutboxBytes = options.maxOutboxBytes
    this.maxTotalBytes = options.maxTotalBytes
    this.monotonic = options.monotonic
  }
}

interface Waiting {
  readonly frame: Frame
  /** Where in its text the reader is: earlier than the frame begins, if frames that it replaced brought text. */
  readonly from: number | undefined
}

/** Exists only while the reader is behind. */
interface Backlog {
  /** In order. A collapsible frame is found by its key, any other has a number of its own. */
  readonly frames: Map<string | number, Waiting>
  nextKey: number
  bytes: number
  drainedAt: number
}

/**
 * One connection's way out. While the reader keeps up, frames go straight to the socket; otherwise they wait here,
 * within bounds, the newest progress replacing older.
 */
export class Outbox {
  readonly transport: Transport
  /** Called when its reader is too slow. By then the outbox is closed and its memory free. */
  readonly #onShed: () => void
  readonly #pool: OutboxPool
  #backlog: Backlog | undefined
  #finished: (() => void) | undefined
  #closed = false
  /** Bytes of the past that it may hold beyond the bound until it has caught up; and whether they are still to be written. */
  #allowance = 0
  #isExpecting = false

  constructor (transport: Transport, pool: OutboxPool, onShed: () => void) {
    this.transport = transport
    this.#pool = pool
    this.#onShed = onShed
  }

  /** Whether it takes nothing more. */
  get closed (): boolean {
    return this.#closed
  }

  /** Bytes that wait for the reader, here and in the socket. */
  get bufferedBytes (): number {
    return this.transport.bufferedBytes + (this.#backlog?.bytes ?? 0)
  }

  /** Whether something waits for the reader here. */
  get behind (): boolean {
    return this.#backlog !== undefined
  }

  /** For how long the reader has taken nothing while something waited here, in milliseconds. */
  get stalledMs (): number {
    return this.#backlog === undefined ? 0 : this.#pool.monotonic() - this.#backlog.drainedAt
  }

  /**
   * So much of the past comes with the next `write`. It is no sign of a slow reader, and it has bounds of its own; counted
   * like live messages it would close the connection, and after it each that comes back for the same.
   */
  expect (bytes: number): void {
    this.#allowance += bytes
    this.#isExpecting = true
  }

  /** Writes frames that the caller has joined already. False when they can't go at once: then `write` them. */
  writeJoined (bytes: Buffer, frames: readonly Frame[]): boolean {
    if (this.#closed) return true
    if (this.#backlog !== undefined || this.transport.full || bytes.length > WRITE_AHEAD_BYTES) return false
    this.transport.write(bytes, frames)
    this.#pool.sent += frames.length
    return true
  }

  /** Writes what the reader has room for; the rest waits. */
  write (frames: readonly Frame[]): void {
    let left = frames
    while (!this.#closed && this.#backlog === undefined && left.length > 0 && !this.transport.full) left = this.#fill(left)
    for (const frame of left) if (!this.#closed) this.#wait(frame)
    this.#isExpecting = false
    if (this.#backlog === undefined) this.#allowance = 0
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
    this.#pool.waitingBytes -= this.#backlog.bytes
    this.#pool.dropped += this.#backlog.frames.size
    this.#backlog = undefined
  }

  /** Gives up a reader that is too slow: what waits would only hold up the close frame that says so. */
  shed (): void {
    this.#pool.shed++
    this.close()
    this.#onShed()
  }

  /** Hands over up to `WRITE_AHEAD_BYTES`, at least one frame, in one write. Answers the frames that are left. */
  #fill (frames: readonly Frame[]): readonly Frame[] {
    const parts: Buffer[] = []
    let bytes = 0
    for (const frame of frames) {
      const part = frame.bytes(this.transport.inflates)
      if (bytes > 0 && bytes + part.length > WRITE_AHEAD_BYTES) break
      parts.push(part)
      bytes += part.length
    }
    this.transport.write(joinBytes(parts), frames.slice(0, parts.length))
    this.#pool.sent += parts.length
    return frames.slice(parts.length)
  }

  #wait (frame: Frame): void {
    const { length } = frame.bytes(this.transport.inflates)
    const pool = this.#pool
    if (this.#backlog === undefined) {
      this.#backlog = { frames: new Map(), nextKey: 0, bytes: 0, drainedAt: pool.monotonic() }
      this.transport.onceDrained(() => { this.#drained() })
    }
    const backlog = this.#backlog
    const from = frame.collapseKey === undefined ? undefined : this.#collapse(backlog, frame.collapseKey) ?? frame.piece?.from
    // The first may be of any size: a message above the bound must be able to reach a reader that only just filled up.
    const tooMuch = this.bufferedBytes + (backlog.bytes > 0 ? length : 0) > pool.maxOutboxBytes + this.#allowance
    if (tooMuch || pool.waitingBytes + length > pool.maxTotalBytes) {
      pool.dropped++
      this.shed()
      return
    }
    backlog.frames.set(frame.collapseKey ?? backlog.nextKey++, { frame, from })
    backlog.bytes += length
    pool.waitingBytes += length
  }

  /**
   * The newer one goes to the end, not into the older one's place: nothing may overtake what was sent before it. Answers
   * where in its text the older one began; only that is remembered, no text.
   */
  #collapse (backlog: Backlog, key: string): number | undefined {
    const older = backlog.frames.get(key)
    if (older === undefined) return undefined
    backlog.frames.delete(key)
    this.#pool.collapsed++
    this.#release(backlog, older.frame)
    return older.from
  }

  #release (backlog: Backlog, frame: Frame): void {
    const { length } = frame.bytes(this.transport.inflates)
    backlog.bytes -= length
    this.#pool.waitingBytes -= length
  }

  /** Takes the first `WRITE_AHEAD_BYTES` out of the backlog, or the first frame if that is more. */
  #take (backlog: Backlog): Frame[] {
    const head: Frame[] = []
    let bytes = 0
    for (const [key, { frame, from }] of backlog.frames) {
      if (bytes >= WRITE_AHEAD_BYTES) break
      backlog.frames.delete(key)
      this.#release(backlog, frame)
      const whole = frame.piece === undefined || from === undefined || from === frame.piece.from ? frame : frame.piece.startingAt(from)
      bytes += whole.bytes(this.transport.inflates).length
      head.push(whole)
    }
    return head
  }

  #drained (): void {
    const backlog = this.#backlog
    if (backlog === undefined) return
    backlog.drainedAt = this.#pool.monotonic()
    while (backlog.frames.size > 0 && !this.transport.full) {
      let head: readonly Frame[] = this.#take(backlog)
      while (head.length > 0) head = this.#fill(head)
    }
    if (backlog.frames.size > 0) {
      this.transport.onceDrained(() => { this.#drained() })
    } else {
      this.#backlog = undefined
      if (!this.#isExpecting) this.#allowance = 0
      this.#finished?.()
    }
  }
}
