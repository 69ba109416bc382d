import type { Environment } from './environment.js'
import type { ClientLimits } from './messages.js'
import type { Socket } from './socket.js'

/** The client's share of the server's rate limit. The rest is room for pings, and for messages that a slow network delivers together. */
const SHARE = 0.8

/**
 * The share of the burst that may be under way, and the share of that after which a ping asks how far the server has read. The
 * network may hold messages back and deliver them together, which exceeds the rate limit however evenly they were sent.
 */
const WINDOW_SHARE = 0.5
const PING_SHARE = 0.3
/** A smaller burst has no room for pings. */
const SMALL_BURST = 10
/** How soon to look again when too many messages are under way, in milliseconds. */
const WINDOW_RETRY_MS = 50

/**
 * Keeps the client's messages below the server's rate limit, past which the server closes the connection. It is the generic
 * cell rate algorithm: a token bucket with one number for a state.
 */
export class Allowance {
  readonly #clock: Environment['clock']
  readonly #socket: () => Socket | undefined
  /** Milliseconds between two messages in the long run, and by how many they may come ahead of that. 0 is no limit. */
  #intervalMs = 0
  #aheadMs = 0
  /** When the next message would be due if all came at the interval. */
  #dueAt = 0
  /** Messages that may be under way, and after how many a ping is sent. */
  #window = Infinity
  #pingEvery = Infinity

  constructor (clock: Environment['clock'], socket: () => Socket | undefined) {
    this.#clock = clock
    this.#socket = socket
  }

  /** A connection begins. A server that states no limits has none. */
  begin ({ burst = Number.MAX_SAFE_INTEGER, messagesPerSecond = Infinity }: ClientLimits): void {
    this.#intervalMs = 1000 / messagesPerSecond / SHARE
    this.#aheadMs = this.#intervalMs * Math.max(0, burst * SHARE - 1)
    this.#dueAt = 0
    this.#window = messagesPerSecond === Infinity || burst < SMALL_BURST ? Infinity : burst * WINDOW_SHARE
    this.#pingEvery = this.#window * PING_SHARE
  }

  /** Milliseconds until the next message may be sent; not above 0 if it may be sent now. */
  get waitMs (): number {
    if ((this.#socket()?.underWay ?? 0) >= this.#window) return WINDOW_RETRY_MS
    return this.#dueAt - this.#aheadMs - this.#clock.monotonic()
  }

  /** A message was sent. */
  spend (): void {
    const socket = this.#socket()
    this.#dueAt = Math.max(this.#dueAt, this.#clock.monotonic()) + this.#intervalMs
    if (socket === undefined || socket.sincePing < this.#pingEvery) return
    socket.ping()
    this.spend()
  }
}
