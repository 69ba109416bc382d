import type { Reconnect } from '../protocol/codes.js'
import { delayMs, ruleOf, type BackoffOptions } from './backoff.js'
import type { Emitter } from './emitter.js'
import type { Environment, Timer, WakeEvent, WebSocketConstructor } from './environment.js'
import { ClientError } from './errors.js'
import type { ClientLimits } from './messages.js'
import { ANSWER_MS, protocolsFor, Socket } from './socket.js'
import { redacted } from './target.js'

/** What `getToken` returns. Without a token the client connects without one. */
export type Token = string | null | undefined

/**
 * - `idle`: nothing has been asked of it.
 * - `connecting`: an attempt is under way, from `getToken` to the server's `connection` message.
 * - `connected`: that message has come.
 * - `waiting`: for the next attempt, or for a network.
 * - `closed`: no attempt will be made. After `attempts` a page that comes online or becomes visible begins anew, after
 *   everything else only `connect`.
 */
export type ConnectionState = 'idle' | 'connecting' | 'connected' | 'waiting' | 'closed'

/**
 * Why it is not connected.
 *
 * - `lost`: the connection, or an attempt, was ended by the server or the network.
 * - `timeout`: no `connection` message came in time.
 * - `silent`: the connection was open, and nobody answered any more.
 * - `offline`: there is no network.
 * - `token`: `getToken` failed.
 * - `attempts`: all attempts are used up.
 * - `refused`: the server's close code says that coming back would end the same way; or the URL can't be opened.
 * - `disabled`: the connection ended, and `reconnect` is off.
 * - `called`: `close` was called.
 */
export type StateReason =
  | 'lost' | 'timeout' | 'silent' | 'offline' | 'token' | 'attempts' | 'refused' | 'disabled' | 'called'

export interface StateChange {
  readonly state: ConnectionState
  readonly reason: StateReason | undefined
}

/** The end of a socket, or of an attempt to open one. */
export interface CloseInfo {
  /** As in the close frame; 1006 where none came. */
  readonly code: number
  readonly reason: string
  /** Whether it had been connected. */
  readonly wasConnected: boolean
}

export interface LinkOptions extends BackoffOptions {
  readonly getToken?: (() => Token | PromiseLike<Token>) | undefined
  readonly reconnect: boolean
  readonly maxReconnectAttempts: number
  readonly connectTimeoutMs: number
  readonly WebSocket?: WebSocketConstructor | undefined
}

/** What it counts. */
export interface LinkCounts {
  messagesSent: number
  reconnects: number
  reconnectAttempts: number
}

export interface LinkEvents {
  /** Where the next attempt goes. */
  target (): string
  readonly message: (text: string) => void
  readonly latency: (ms: number) => void
  state (): void
}

/** The longest header line that nginx and Apache take by default, in bytes. Node.js takes twice as much for all headers. */
const LONGEST_HEADER = 8192

/** One connection that keeps itself up: attempts, the time between them, and when to give up. */
export class ReconnectingSocket {
  state: ConnectionState = 'idle'
  reason: StateReason | undefined
  /** While there is one that may be used, or an attempt to open it. */
  socket: Socket | undefined
  readonly #options: LinkOptions
  readonly #counts: LinkCounts
  readonly #emitter: Emitter
  readonly #events: LinkEvents
  readonly #environment: Environment
  /** The deadline of an attempt, or the time until the next. */
  #timer: Timer | undefined
  #unwatch: (() => void) | undefined
  /** Attempts that failed since the last connection. */
  #failed = 0
  #wasConnected = false
  #triedFreshToken = false
  /** Why it is waiting. */
  #rule: Reconnect = 'backoff'
  /** When the page woke up, if no attempt has begun since. */
  #wokeAt: number | undefined
  /** Whether `online` may replace the current attempt: only once, because a network that flaps would let none finish. */
  #mayReplace = false
  /** Where the latest attempt went, as it may be shown, and the error that it ended with. */
  #url = 'the server'
  #cause: unknown

  constructor (options: LinkOptions, environment: Environment, counts: LinkCounts, emitter: Emitter, events: LinkEvents) {
    this.#options = options
    this.#counts = counts
    this.#environment = environment
    this.#emitter = emitter
    this.#events = events
  }

  /** Connects now, unless it is about to or has. */
  connect (): void {
    if (this.state === 'connecting' || this.state === 'connected') return
    this.#unwatch ??= this.#environment.watch((event) => { this.#wake(event) })
    this.#failed = 0
    this.#triedFreshToken = false
    this.#open()
  }

  /** The `connection` message has come: only now it is known that somebody serves this connection. */
  connected (limits: ClientLimits | undefined): void {
    this.#timer?.cancel()
    this.#failed = 0
    this.#triedFreshToken = false
    if (this.#wasConnected) this.#counts.reconnects++
    this.#wasConnected = true
    this.socket?.admit(limits)
    this.#enter('connected')
  }

  /** Takes another connection in the place of this one, which can't be trusted any more. */
  replace (reason: StateReason): void {
    this.#ended('soon', reason, 1006, '')
  }

  close (): void {
    if (this.reason !== 'called') this.#stop('called', this.socket && { code: 1000, reason: '', wasConnected: this.state === 'connected' })
  }

  #open (mayReplace = true): void {
    this.#wokeAt = this.#cause = undefined
    this.#mayReplace = mayReplace
    if (this.state === 'waiting' || this.#wasConnected) this.#counts.reconnectAttempts++
    const attempt = this.#restart(this.#options.connectTimeoutMs, () => { this.#ended('backoff', 'timeout', 1006, 'no answer in time') })
    this.#enter('connecting')
    // What an attempt brings that was given up meanwhile is of no interest.
    void this.#prepare(() => this.#timer === attempt)
  }

  /** Does not wait where there is no `getToken`. Never rejects. */
  async #prepare (isCurrent: () => boolean): Promise<void> {
    const { getToken } = this.#options
    let protocols
    try {
      const token: unknown = (getToken && await getToken()) ?? ''
      if (typeof token !== 'string') throw new TypeError(`it returned a ${typeof token}`)
      protocols = protocolsFor(token)
    } catch (cause) {
      if (!isCurrent()) return
      this.#emitter.emit('error', new ClientError('token_failed', `getToken failed: ${messageOf(cause)}`, { cause }))
      this.#ended('backoff', 'token', 1006, 'no token')
      return
    }
    const { length } = protocols.join(', ')
    // A browser can't see that a header was refused.
    if (length > LONGEST_HEADER && isCurrent()) {
      this.#emitter.emit('error', new ClientError('token_too_large', `the token's header of ${length} bytes may be refused: many proxies take ${LONGEST_HEADER}`))
    }
    if (isCurrent()) this.#dial(protocols)
  }

  #dial (protocols: string[]): void {
    const { WebSocket } = this.#options
    try {
      const url = this.#events.target()
      this.#url = redacted(url)
      this.socket = WebSocket && new Socket(WebSocket, url, protocols, this.#environment.clock, {
        message: this.#events.message,
        latency: this.#events.latency,
        sent: () => { this.#counts.messagesSent++ },
        close: (code, reason, cause) => {
          this.#cause = cause
          this.#ended(ruleOf(code), 'lost', code, reason)
        },
        silent: () => { this.replace('silent') }
      })
    } catch (cause) {
      // A URL that can't be opened today can't be opened tomorrow.
      this.#emitter.emit('error', new ClientError('connection_failed', `the WebSocket can't be opened: ${redacted(messageOf(cause))}`, { cause }))
      this.#stop('refused', undefined)
    }
  }

  /** An attempt or a connection has ended. */
  #ended (rule: Reconnect, reason: StateReason, code: number, text: string): void {
    const { reconnect, maxReconnectAttempts, getToken } = this.#options
    const info = { code, reason: text, wasConnected: this.state === 'connected' }
    const isOffline = !this.#environment.isOnline()
    const mayRefresh = rule === 'fresh-token' && getToken !== undefined && !this.#triedFreshToken
    if (rule === 'never' || (rule === 'fresh-token' && !mayRefresh)) this.#stop('refused', info)
    else if (!reconnect) this.#stop('disabled', info)
    else if (!isOffline && !mayRefresh && this.#failed >= maxReconnectAttempts) this.#stop('attempts', info)
    else {
      this.#triedFreshToken ||= mayRefresh
      this.#rule = rule
      const ms = this.#delayMs(rule, isOffline)
      this.#drop()
      this.#restart(ms, () => { this.#open() })
      this.#enter('waiting', isOffline ? 'offline' : reason)
      this.#tell(info)
    }
  }

  /** The time until the next attempt. */
  #delayMs (rule: Reconnect, isOffline: boolean): number {
    // Without a network nothing is an attempt. It is tried all the same now and then, because a page's own machine can be
    // reached without one.
    if (isOffline) return this.#options.maxReconnectIntervalMs
    if (this.#isWaking && rule !== 'later') return 0
    return delayMs(rule, ++this.#failed, this.#environment.random(), this.#options)
  }

  #stop (reason: StateReason, info: CloseInfo | undefined): void {
    this.#drop()
    this.#timer?.cancel()
    this.#timer = undefined
    if (reason !== 'attempts') {
      this.#unwatch?.()
      this.#unwatch = undefined
    }
    this.#enter('closed', reason)
    if (info) this.#tell(info)
  }

  #tell (info: CloseInfo): void {
    if (!info.wasConnected && this.reason !== 'called') {
      const cause = this.#cause
      const why = info.reason || redacted(messageOf(cause))
      this.#emitter.emit('error', new ClientError('connection_failed', `no connection to ${this.#url}: ${info.code} ${why}`.trim(), { cause }))
    }
    this.#emitter.emit('close', info)
  }

  /**
   * Whether the page has just woken up. A browser reports a connection that died during the sleep only some milliseconds
   * after the wake-up, and may deliver messages that had arrived before.
   */
  get #isWaking (): boolean {
    return this.#wokeAt !== undefined && this.#environment.clock.monotonic() - this.#wokeAt <= ANSWER_MS
  }

  #wake (event: WakeEvent): void {
    const { state } = this
    if (event !== 'offline') this.#wokeAt = this.#environment.clock.monotonic()
    if (state === 'connected') {
      this.socket?.probe()
    } else if (event !== 'offline' && (state === 'closed' || (state === 'waiting' && this.#rule !== 'later'))) {
      this.connect()
    } else if (event === 'online' && state === 'connecting' && this.#mayReplace) {
      // Begun on a network that is no more.
      this.#drop()
      this.#open(false)
    }
  }

  #drop (): void {
    const socket = this.socket
    this.socket = undefined
    socket?.drop()
  }

  #restart (ms: number, callback: () => void): Timer {
    this.#timer?.cancel()
    return this.#timer = this.#environment.clock.after(ms, callback)
  }

  #enter (state: ConnectionState, reason?: StateReason): void {
    this.state = state
    this.reason = reason
    this.#events.state()
  }
}

/** What an error says. One about several addresses of a host has no message in Node.js, only a code. */
function messageOf (cause: unknown): string {
  const { message, code } = Object(cause) as { message?: unknown, code?: unknown }
  return [cause, message, code].find((text): text is string => typeof text === 'string' && text !== '') ?? ''
}
