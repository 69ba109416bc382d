import type { Environment, Timer, WebSocketConstructor, WebSocketLike } from './environment.js'
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

export const PING = '{"type":"ping"}'

/** The first subprotocol; a token rides along as a second one, because a browser can set no header here. */
const SUBPROTOCOL = 'ai-canvas.v1'

export function protocolsFor (token: string | undefined): string[] {
  if (token === undefined) return [SUBPROTOCOL]
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
  /** When something came last. In the future while a long message may be on its way. */
  #heardAt: number
  #watch: Timer | undefined
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

  /** From now on silence counts. */
  watch (): void {
    const leftMs = this.#heardAt + QUIET_MS - this.#clock.monotonic()
    if (leftMs <= 0) this.probe()
    this.#watch = this.#clock.after(leftMs > 0 ? leftMs : QUIET_MS, () => { this.watch() })
  }

  /** The next message is so many bytes long. Until it has come, nothing else can. */
  expect (bytes: number): void {
    this.#heardAt += bytes / SLOWEST
  }

  /** Asks whether anybody is there. Any message is an answer. */
  probe (): void {
    if (this.#answer === undefined) this.ping()
    const busyMs = Math.max(0, this.#heardAt - this.#clock.monotonic())
    this.#answer ??= this.#clock.after(busyMs + ANSWER_MS, () => { this.#events.silent() })
  }

  /** Messages that the server may not have read yet. */
  get underWay (): number {
    return this.#sent - this.#read
  }

  /** Messages that were sent since the last ping. */
  get sincePing (): number {
    return this.#sent - (this.#pings.at(-1)?.sent ?? this.#read)
  }

  ping (): void {
    this.#pings.push({ at: this.#clock.monotonic(), sent: this.#sent + 1 })
    this.send(PING)
  }

  pong (): void {
    const ping = this.#pings.shift()
    if (ping === undefined) return
    this.#read = ping.sent
    this.#events.latency(this.#clock.monotonic() - ping.at)
  }

  send (text: string): void {
    this.#sent++
    this.#socket.send(text)
    this.#events.sent()
  }

  /** Lets go of it. Its close is not waited for: towards a dead peer that takes a browser a minute. */
  drop (): void {
    this.#detach()
    this.#socket.close(1000)
  }

  #detach (): void {
    this.#watch?.cancel()
    this.#answer?.cancel()
    // Not null: ws throws an error that nobody listens for.
    const socket = this.#socket
    socket.onmessage = socket.onclose = socket.onerror = nothing
  }
}

function nothing (): void { /* What it says is of no interest any more. */ }
