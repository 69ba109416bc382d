import type { Environment, Timer, WebSocketConstructor, WebSocketLike } from './environment.js'
import type { ClientLimits } from './messages.js'
import { encodeText } from './target.js'

export interface SocketEvents {
  /** Called for each text message. */
  message (text: string): void
  /** Called on close. `cause` is the error before the close, if the environment provides one. */
  close (code: number, reason: string, cause: unknown): void
  /** Called when the socket appears open but the server does not respond. */
  silent (): void
  /** Called after each message that was sent. */
  sent (): void
  /** Called with the round trip of a ping, in milliseconds. */
  latency (ms: number): void
}

/** Idle time after which the client sends a ping, in milliseconds. */
const IDLE_MS = 30_000
/** How long the client waits for the reply, in milliseconds. */
export const REPLY_TIMEOUT_MS = 5_000
/** The slowest download that counts as alive, in bytes per millisecond. A WebSocket does not show a message's first bytes. */
const SLOWEST_BYTES_PER_MS = 8

/** The share of the server's rate limit that the client uses. The rest is a margin for messages that a slow network bunches. */
const RATE_SHARE = 0.8
/**
 * The share of the burst that may be in flight. The network may hold messages back and deliver them together, which exceeds
 * the rate limit however evenly they were sent.
 */
const IN_FLIGHT_SHARE = 0.5
/** The share of that window after which a ping finds out how many messages the server has read. */
const PING_SHARE = 0.3
/** The smallest burst that leaves room for pings. */
const SMALL_BURST = 10
/** Delay before checking again when too many messages are in flight, in milliseconds. */
const IN_FLIGHT_RETRY_MS = 50

const PING = '{"type":"ping"}'

/** The protocol's name. A second subprotocol carries the token, because browsers can't set headers on a WebSocket. */
const SUBPROTOCOL = 'ai-canvas.v1'

/** Returns the subprotocols to offer. An empty token is omitted. */
export function protocolsFor (token: string): string[] {
  if (!token) return [SUBPROTOCOL]
  // Encodes as UTF-8 without `TextEncoder`, which Jest's jsdom lacks.
  const bytes = encodeText(token).replace(/%(..)/g, (_, hex: string) => String.fromCharCode(parseInt(hex, 16)))
  return [SUBPROTOCOL, `ai-canvas.token.${btoa(bytes).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '')}`]
}

/** Wraps one WebSocket with keep-alive and rate limiting. Emits nothing after its close or after `drop`. */
export class Socket {
  readonly #socket: WebSocketLike
  readonly #events: SocketEvents
  readonly #clock: Environment['clock']
  /** Unanswered pings in order: the time of each, and the number of messages sent up to and including it. */
  readonly #pings: Array<{ readonly at: number, readonly sent: number }> = []
  /** Messages sent. */
  #sent = 0
  /** Messages that the server has read, according to its latest `pong`. */
  #read = 0
  /**
   * Rate limiting by the generic cell rate algorithm (GCRA), a token bucket whose state is one number. The server closes a
   * connection that exceeds its limit. This is the average interval between messages.
   */
  #intervalMs = 0
  /** How far messages may run ahead of that interval (the burst). */
  #burstMs = 0
  /** When the next message is due if all keep to the interval. */
  #dueAt = 0
  /** Maximum number of messages in flight. */
  #maxInFlight = Infinity
  /** Time of the latest message. In the future while a large message may be arriving. */
  #receivedAt: number
  #idleTimer: Timer | undefined
  #replyTimer: Timer | undefined

  /** Rethrows errors of the WebSocket constructor. */
  constructor (WebSocket: WebSocketConstructor, url: string, protocols: string[], clock: Environment['clock'], events: SocketEvents) {
    this.#clock = clock
    this.#events = events
    this.#receivedAt = clock.monotonic()
    const socket = this.#socket = new WebSocket(url, protocols)
    socket.onmessage = ({ data }: { data: unknown }) => {
      this.#receivedAt = clock.monotonic()
      this.#replyTimer?.cancel()
      this.#replyTimer = undefined
      if (typeof data === 'string') events.message(data)
    }
    // Only server runtimes provide a cause, such as ECONNREFUSED. Browsers don't.
    let cause: unknown
    let isOpen = false
    const end = (code: number, reason: string): void => {
      this.#detach()
      events.close(code, reason, cause)
    }
    socket.onopen = () => { isOpen = true }
    socket.onerror = ({ error, message }: { error?: unknown, message?: unknown }) => {
      cause = error ?? message
      // A `close` event follows, except in Node.js 22 when the connection never opened.
      if (!isOpen) this.#replyTimer ??= clock.after(0, () => { end(1006, '') })
    }
    // Deno reports 0 if there was no close frame.
    socket.onclose = ({ code, reason }: { code: number, reason: string }) => { end(code || 1006, reason) }
  }

  /** Starts keep-alive and rate limiting after the `connection` message. Without limits, only keep-alive. */
  start ({ burst = Number.MAX_SAFE_INTEGER, messagesPerSecond }: ClientLimits = {}): void {
    if (messagesPerSecond) {
      this.#intervalMs = 1000 / messagesPerSecond / RATE_SHARE
      this.#burstMs = this.#intervalMs * Math.max(0, burst * RATE_SHARE - 1)
      if (burst >= SMALL_BURST) this.#maxInFlight = burst * IN_FLIGHT_SHARE
    }
    this.#watchIdle()
  }

  #watchIdle (): void {
    const leftMs = this.#receivedAt + IDLE_MS - this.#clock.monotonic()
    if (leftMs <= 0) this.probe()
    this.#idleTimer = this.#clock.after(leftMs > 0 ? leftMs : IDLE_MS, () => { this.#watchIdle() })
  }

  /** Extends the idle timeout before a large message, because nothing else can arrive until it is complete. */
  expectLarge (bytes: number): void {
    this.#receivedAt += bytes / SLOWEST_BYTES_PER_MS
  }

  /** Sends a ping to check that the server responds. Any message counts as a response. */
  probe (): void {
    if (!this.#replyTimer) this.send(PING)
    const busyMs = Math.max(0, this.#receivedAt - this.#clock.monotonic())
    this.#replyTimer ??= this.#clock.after(busyMs + REPLY_TIMEOUT_MS, () => { this.#events.silent() })
  }

  /** Milliseconds until the next message may be sent. Zero or less means now. */
  get waitMs (): number {
    return this.#sent - this.#read >= this.#maxInFlight ? IN_FLIGHT_RETRY_MS : this.#dueAt - this.#burstMs - this.#clock.monotonic()
  }

  pong (): void {
    const ping = this.#pings.shift()
    if (!ping) return
    this.#read = ping.sent
    this.#events.latency(this.#clock.monotonic() - ping.at)
  }

  send (text: string): void {
    this.#sent++
    if (text === PING) this.#pings.push({ at: this.#clock.monotonic(), sent: this.#sent })
    this.#socket.send(text)
    this.#events.sent()
    this.#dueAt = Math.max(this.#dueAt, this.#clock.monotonic()) + this.#intervalMs
    const sincePing = this.#sent - (this.#pings.at(-1)?.sent ?? this.#read)
    if (sincePing >= this.#maxInFlight * PING_SHARE) this.send(PING)
  }

  /** Closes the socket and ignores it from now on. With a dead peer, a browser's close takes up to a minute. */
  drop (): void {
    this.#detach()
    this.#socket.close(1000)
  }

  #detach (): void {
    this.#idleTimer?.cancel()
    this.#replyTimer?.cancel()
    // Not null, because `ws` throws an `error` event that has no listener.
    const socket = this.#socket
    socket.onmessage = socket.onclose = socket.onerror = ignore
  }
}

function ignore (): void { /* Events of a detached socket are ignored. */ }
