import type { Environment, Timer, WebSocketConstructor, WebSocketLike } from './environment.js'
import type { ClientLimits } from './messages.js'
import { encoded } from './target.js'

export interface SocketEvents {
  /** What came, as text. */
  message (text: string): void
  /** The cause is the error that came before the close, where the environment gives one. */
  close (code: number, reason: string, cause: unknown): void
  /** It is open as far as anybody says, and nothing comes through it. */
  silent (): void
  /** A message went out. */
  sent (): void
  /** A round trip, in milliseconds. */
  latency (ms: number): void
}

/** So long nothing may come before the client asks whether anybody is there, and so long it waits for an answer. */
const QUIET_MS = 30_000
export const ANSWER_MS = 5_000
/** A long message is given time to arrive at this speed, in bytes per millisecond. Nothing of it can be seen before its end. */
const SLOWEST = 8

/** The client's share of the server's rate limit. The rest is room for messages that a slow network delivers together. */
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

const PING = '{"type":"ping"}'

/** The first subprotocol; a token rides along as a second one, because a browser can set no header here. */
const SUBPROTOCOL = 'ai-canvas.v1'

/** An empty token is none. */
export function protocolsFor (token: string): string[] {
  if (!token) return [SUBPROTOCOL]
  // The UTF-8 bytes. Jest's jsdom has no `TextEncoder`.
  const bytes = encoded(token).replace(/%(..)/g, (_, hex: string) => String.fromCharCode(parseInt(hex, 16)))
  return [SUBPROTOCOL, `ai-canvas.token.${btoa(bytes).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '')}`]
}

/** One socket, and whether there is still somebody at its other end. After its close, or `drop`, nothing comes of it. */
export class Socket {
  readonly #socket: WebSocketLike
  readonly #events: SocketEvents
  readonly #clock: Environment['clock']
  /** Pings that are not answered yet: when each was sent, and how many messages with it. Answers come in order. */
  readonly #pings: Array<{ readonly at: number, readonly sent: number }> = []
  /** Messages that were sent, and how many of them the server has certainly read. */
  #sent = 0
  #read = 0
  /**
   * The rate limit, past which the server closes the connection, by the generic cell rate algorithm: a token bucket with one
   * number for a state. Milliseconds between two messages in the long run, by how many they may come ahead of that, and when
   * the next one would be due if all came at the interval.
   */
  #intervalMs = 0
  #aheadMs = 0
  #dueAt = 0
  /** Messages that may be under way. */
  #window = Infinity
  /** When something came last. In the future while a long message may be on its way. */
  #heardAt: number
  #quiet: Timer | undefined
  #answer: Timer | undefined

  /** Throws what the constructor of the WebSocket throws. */
  constructor (WebSocket: WebSocketConstructor, url: string, protocols: string[], clock: Environment['clock'], events: SocketEvents) {
    this.#clock = clock
    this.#events = events
    this.#heardAt = clock.monotonic()
    const socket = this.#socket = new WebSocket(url, protocols)
    socket.onmessage = ({ data }: { data: unknown }) => {
      this.#heardAt = clock.monotonic()
      this.#answer?.cancel()
      this.#answer = undefined
      if (typeof data === 'string') events.message(data)
    }
    // Only servers' environments say here what went wrong, such as ECONNREFUSED.
    let cause: unknown
    let isOpen = false
    const end = (code: number, reason: string): void => {
      this.#detach()
      events.close(code, reason, cause)
    }
    socket.onopen = () => { isOpen = true }
    socket.onerror = ({ error, message }: { error?: unknown, message?: unknown }) => {
      cause = error ?? message
      // A close follows, but not in Node.js 22 where the connection never opened.
      if (!isOpen) this.#answer ??= clock.after(0, () => { end(1006, '') })
    }
    // Deno has 0 where no close frame came.
    socket.onclose = ({ code, reason }: { code: number, reason: string }) => { end(code || 1006, reason) }
  }

  /** The server has let the client in. From now on silence counts, and so do the server's limits, if it states any. */
  admit ({ burst = Number.MAX_SAFE_INTEGER, messagesPerSecond }: ClientLimits = {}): void {
    if (messagesPerSecond) {
      this.#intervalMs = 1000 / messagesPerSecond / SHARE
      this.#aheadMs = this.#intervalMs * Math.max(0, burst * SHARE - 1)
      if (burst >= SMALL_BURST) this.#window = burst * WINDOW_SHARE
    }
    this.#watch()
  }

  #watch (): void {
    const leftMs = this.#heardAt + QUIET_MS - this.#clock.monotonic()
    if (leftMs <= 0) this.probe()
    this.#quiet = this.#clock.after(leftMs > 0 ? leftMs : QUIET_MS, () => { this.#watch() })
  }

  /** The next message is so many bytes long. Until it has come, nothing else can. */
  expect (bytes: number): void {
    this.#heardAt += bytes / SLOWEST
  }

  /** Asks whether anybody is there. Any message is an answer. */
  probe (): void {
    if (!this.#answer) this.send(PING)
    const busyMs = Math.max(0, this.#heardAt - this.#clock.monotonic())
    this.#answer ??= this.#clock.after(busyMs + ANSWER_MS, () => { this.#events.silent() })
  }

  /** Milliseconds until the next message may be sent; not above 0 if it may be sent now. */
  get waitMs (): number {
    return this.#sent - this.#read >= this.#window ? WINDOW_RETRY_MS : this.#dueAt - this.#aheadMs - this.#clock.monotonic()
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
    if (sincePing >= this.#window * PING_SHARE) this.send(PING)
  }

  /** Lets go of it. Its close is not waited for: towards a dead peer that takes a browser a minute. */
  drop (): void {
    this.#detach()
    this.#socket.close(1000)
  }

  #detach (): void {
    this.#quiet?.cancel()
    this.#answer?.cancel()
    // Not null: ws throws an error that nobody listens for.
    const socket = this.#socket
    socket.onmessage = socket.onclose = socket.onerror = nothing
  }
}

function nothing (): void { /* What it says is of no interest any more. */ }
