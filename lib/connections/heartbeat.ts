import type { Clock, Timer } from '../util/clock.js'
import type { Connection } from './connection.js'
import type { ConnectionWatcher } from './connection-registry.js'
import type { Counters } from './counters.js'
import type { Logger } from '../util/logger.js'

export interface HeartbeatOptions {
  readonly clock: Clock
  readonly counters: Counters
  readonly log: Logger
  /** Interval of pings to each client, in milliseconds. */
  readonly intervalMs: number
  /** A connection with waiting messages that reads nothing for this long is closed as a slow consumer, in milliseconds. */
  readonly stallTimeoutMs: number
}

/** Minimum time between two groups of pings. Shorter steps would only add timers. */
const MIN_STEP_MS = 250
const MAX_GROUPS = 120

/** Connections that are pinged together, and the next group of the ring. */
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
 * Pings all connections with one timer and terminates those that don't answer. Connections are spread over groups, so that ten
 * thousand pings don't leave in one burst. When a group is due, a client that has sent nothing since the last ping is
 * disconnected. The others are pinged.
 */
export class Heartbeat implements ConnectionWatcher {
  readonly #options: HeartbeatOptions
  readonly #stepMs: number
  /** Group that is due next, and group that the next connection joins. */
  #due: Group
  #filling: Group
  #pings = 0
  #dueAt = 0
  /** Until then no client is disconnected: this process was blocked, so the silence may be its own fault. */
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
    connection.pingGroup = this.#filling.members
    connection.pingGroup.add(connection)
    this.#filling = this.#filling.next
  }

  removed (connection: Connection): void {
    connection.pingGroup?.delete(connection)
  }

  /**
   * Handles a pong. Returns false if it answers no ping. The round trip is measured only for the latest ping, and only if no
   * message was queued before that ping.
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
      // Node runs timers before I/O. Wait until pending input was read, so that only clients that sent nothing count as silent.
      clock.endOfTick(() => {
        if (this.#timer === undefined) return
        this.#pingGroup()
        this.#arm()
      })
    })
  }

  #pingGroup (): void {
    const { members, next } = this.#due
    this.#due = next
    const payload = Buffer.from(String(this.#pings++), 'latin1')
    for (const connection of members) this.#check(connection, payload)
  }

  #check (connection: Connection, payload: Buffer): void {
    const { clock, counters, log, stallTimeoutMs } = this.#options
    const { outbox } = connection.subscriber
    const now = clock.monotonic()
    // A client that reads waiting messages is alive, even if it has not reached the ping behind them.
    const isAlive = connection.isAlive || outbox.hasDrained
    outbox.hasDrained = false
    if (outbox.stalledMs > stallTimeoutMs) {
      outbox.closeAsSlow()
    } else if (!isAlive && !outbox.isBehind && now >= this.#graceUntil) {
      counters.close('abnormal')
      log.debug({ clientId: connection.id }, 'a client answered no ping: terminated')
      outbox.transport.terminate()
    } else {
      connection.isAlive = false
      connection.pingedAt = outbox.bufferedBytes === 0 ? now : undefined
      connection.pingPayload = payload
      outbox.ping(payload)
    }
  }
}
