import type { Clock, Timer } from '../util/clock.js'
import type { Connection } from './connection.js'
import type { ConnectionWatcher } from './connection-registry.js'
import type { Counters } from './counters.js'
import type { Logger } from '../util/logger.js'

export interface HeartbeatOptions {
  readonly clock: Clock
  readonly counters: Counters
  readonly log: Logger
  /** How often each peer is pinged, in milliseconds. */
  readonly intervalMs: number
  /** A reader that takes nothing for this long is closed as a slow one, in milliseconds. */
  readonly stallTimeoutMs: number
}

/** Pings leave in groups at least this far apart: finer would be timers for their own sake. */
const MIN_STEP_MS = 250
const MAX_GROUPS = 120

/** Some connections, and the group that comes after them in the round. */
interface Group {
  readonly members: Set<Connection>
  next: Group
}

function ring (count: number): Group {
  const first = { members: new Set<Connection>() } as Group
  let last = first
  for (let at = 1; at < count; at++) last = last.next = { members: new Set(), next: first }
  last.next = first
  return first
}

/**
 * One timer for all connections. They are spread over groups, so that ten thousand pings do not leave in one burst. Each
 * time its group is due, a peer of which nothing was heard since the last ping is cut off, and the others are pinged.
 */
export class Heartbeat implements ConnectionWatcher {
  readonly #options: HeartbeatOptions
  readonly #stepMs: number
  /** The group that is due next, and the one that the next connection joins. */
  #due: Group
  #filling: Group
  #beats = 0
  #dueAt = 0
  /** Until then nobody is cut off: this process was held up, so silence says nothing about the peers. */
  #graceUntil = 0
  #timer: Timer | undefined

  constructor (options: HeartbeatOptions) {
    this.#options = options
    const count = Math.max(1, Math.min(MAX_GROUPS, Math.floor(options.intervalMs / MIN_STEP_MS)))
    this.#stepMs = options.intervalMs / count
    this.#due = this.#filling = ring(count)
  }

  start (): void {
    this.#arm()
  }

  stop (): void {
    this.#timer?.cancel()
    this.#timer = undefined
  }

  added (connection: Connection): void {
    if (connection.subscriber.outbox.transport.ping === undefined) return
    connection.pingedWith = this.#filling.members
    connection.pingedWith.add(connection)
    this.#filling = this.#filling.next
  }

  removed (connection: Connection): void {
    connection.pingedWith?.delete(connection)
  }

  /**
   * A pong came. Returns false when no ping had asked for it. Only the answer to the latest ping tells a round trip, and only
   * if that ping waited behind nothing.
   */
  pong (connection: Connection, payload: Buffer): boolean {
    connection.isAlive = true
    if (!connection.subscriber.outbox.handlePong(payload)) return false
    if (connection.pingedAt === undefined || connection.pingPayload?.equals(payload) !== true) return true
    this.#options.counters.roundTrip(this.#options.clock.monotonic() - connection.pingedAt)
    connection.pingedAt = undefined
    return true
  }

  #arm (): void {
    const { clock } = this.#options
    this.#dueAt = clock.monotonic() + this.#stepMs
    this.#timer = clock.after(this.#stepMs, () => {
      const now = clock.monotonic()
      if (now - this.#dueAt > this.#options.intervalMs / 2) this.#graceUntil = now + this.#options.intervalMs
      // What the peers have sent may be waiting to be read: timers come before I/O. After it, silence is theirs.
      clock.endOfTick(() => {
        if (this.#timer === undefined) return
        this.#beat()
        this.#arm()
      })
    })
  }

  #beat (): void {
    const { members, next } = this.#due
    this.#due = next
    const payload = Buffer.from(String(this.#beats++), 'latin1')
    for (const connection of members) this.#check(connection, payload)
  }

  #check (connection: Connection, payload: Buffer): void {
    const { clock, counters, log, stallTimeoutMs } = this.#options
    const { outbox } = connection.subscriber
    const now = clock.monotonic()
    // It may take what had waited long before it reads the ping behind that.
    const isAlive = connection.isAlive || outbox.hasDrained
    outbox.hasDrained = false
    if (outbox.stalledMs > stallTimeoutMs) {
      outbox.closeAsSlow()
    } else if (!isAlive && !outbox.isBehind && now >= this.#graceUntil) {
      counters.close('abnormal')
      log.debug({ clientId: connection.id }, 'a peer answered no ping: cut off')
      outbox.transport.terminate()
    } else {
      connection.isAlive = false
      connection.pingedAt = outbox.bufferedBytes === 0 ? now : undefined
      connection.pingPayload = payload
      outbox.ping(payload)
    }
  }
}
