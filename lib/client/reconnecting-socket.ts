import type { Reconnect } from '../protocol/codes.js'
import { delayMs, ruleOf, type BackoffOptions } from './backoff.js'
import type { Emitter } from './emitter.js'
import type { Environment, Timer, WakeEvent, WebSocketConstructor } from './environment.js'
import { ClientError } from './errors.js'
import type { ClientLimits } from './messages.js'
import { REPLY_TIMEOUT_MS, protocolsFor, Socket } from './socket.js'
import { redact } from './target.js'

/** The result of `getToken`. `null`, `undefined` and an empty string mean that the client connects without a token. */
export type Token = string | null | undefined

/**
 * - `idle`: the client has not connected yet.
 * - `connecting`: an attempt is in progress, from `getToken` to the server's `connection` message.
 * - `connected`: the `connection` message has arrived.
 * - `waiting`: the client waits for its next attempt, or for a network.
 * - `closed`: the client does not reconnect by itself, only with `connect`. After the reason `attempts` it also reconnects when
 *   the page comes online or becomes visible.
 */
export type ConnectionState = 'idle' | 'connecting' | 'connected' | 'waiting' | 'closed'

/**
 * Why the client is not connected.
 *
 * - `lost`: the server or the network ended the connection or the attempt.
 * - `timeout`: no `connection` message arrived in time.
 * - `silent`: the connection was open, but the server did not respond.
 * - `offline`: there is no network.
 * - `token`: `getToken` failed.
 * - `attempts`: all attempts are used up.
 * - `refused`: the server's close code says that a reconnect would fail too, or the URL can't be opened.
 * - `disabled`: the connection ended, and `reconnect` is off.
 * - `called`: `close` was called.
 */
export type StateReason =
  | 'lost' | 'timeout' | 'silent' | 'offline' | 'token' | 'attempts' | 'refused' | 'disabled' | 'called'

export interface StateChange {
  readonly state: ConnectionState
  readonly reason: StateReason | undefined
}

/** Describes the end of a connection, or of an attempt to connect. */
export interface CloseInfo {
  /** The code of the close frame, or 1006 if there was none. */
  readonly code: number
  readonly reason: string
  /** Whether the client had been connected. */
  readonly wasConnected: boolean
}

export interface ReconnectingSocketOptions extends BackoffOptions {
  readonly getToken?: (() => Token | PromiseLike<Token>) | undefined
  readonly reconnect: boolean
  readonly maxReconnectAttempts: number
  readonly connectTimeoutMs: number
  readonly WebSocket?: WebSocketConstructor | undefined
}

/** The counters that a `ReconnectingSocket` updates. */
export interface ReconnectingSocketCounters {
  messagesSent: number
  reconnects: number
  reconnectAttempts: number
}

export interface ReconnectingSocketEvents {
  /** Returns the URL of the next attempt. */
  target (): string
  readonly message: (text: string) => void
  readonly latency: (ms: number) => void
  state (): void
}

/** The longest header line that nginx and Apache accept by default, in bytes. Node.js accepts twice that for all headers. */
const MAX_HEADER_BYTES = 8192

/** Keeps one connection open: makes attempts, waits between them, and decides when to give up. */
export class ReconnectingSocket {
  state: ConnectionState = 'idle'
  reason: StateReason | undefined
  /** The current socket, open or opening. */
  socket: Socket | undefined
  readonly #options: ReconnectingSocketOptions
  readonly #counters: ReconnectingSocketCounters
  readonly #emitter: Emitter
  readonly #events: ReconnectingSocketEvents
  readonly #environment: Environment
  /** The timeout of the current attempt, or the delay until the next. */
  #timer: Timer | undefined
  #stopWatching: (() => void) | undefined
  /** Failed attempts since the last connection. */
  #failedAttempts = 0
  #wasConnected = false
  #triedFreshToken = false
  /** The reconnect rule of the latest close. */
  #rule: Reconnect = 'backoff'
  /** Time of the latest wake-up of the page. Undefined once an attempt has begun. */
  #wokeAt: number | undefined
  /** Whether `online` may replace the current attempt. Only once, because on a flapping network no attempt would finish. */
  #mayReplace = false
  /** The redacted URL of the latest attempt. */
  #url = 'the server'
  /** The error of the latest attempt. */
  #cause: unknown

  constructor (options: ReconnectingSocketOptions, environment: Environment, counters: ReconnectingSocketCounters, emitter: Emitter, events: ReconnectingSocketEvents) {
    this.#options = options
    this.#counters = counters
    this.#environment = environment
    this.#emitter = emitter
    this.#events = events
  }

  /** Connects now. Does nothing while connecting or connected. */
  connect (): void {
    if (this.state === 'connecting' || this.state === 'connected') return
    this.#stopWatching ??= this.#environment.watch((event) => { this.#wake(event) })
    this.#failedAttempts = 0
    this.#triedFreshToken = false
    this.#startAttempt()
  }

  /** Handles the `connection` message. Only this message proves that a server handles the connection. */
  connected (limits: ClientLimits | undefined): void {
    this.#timer?.cancel()
    this.#failedAttempts = 0
    this.#triedFreshToken = false
    if (this.#wasConnected) this.#counters.reconnects++
    this.#wasConnected = true
    this.socket?.start(limits)
    this.#setState('connected')
  }

  /** Replaces the connection with a new one, because it no longer works reliably. */
  replace (reason: StateReason): void {
    this.#handleEnd('soon', reason, 1006, '')
  }

  close (): void {
    if (this.reason !== 'called') this.#stop('called', this.socket && { code: 1000, reason: '', wasConnected: this.state === 'connected' })
  }

  #startAttempt (mayReplace = true): void {
    this.#wokeAt = this.#cause = undefined
    this.#mayReplace = mayReplace
    if (this.state === 'waiting' || this.#wasConnected) this.#counters.reconnectAttempts++
    const attempt = this.#restart(this.#options.connectTimeoutMs, () => { this.#handleEnd('backoff', 'timeout', 1006, 'no answer in time') })
    this.#setState('connecting')
    // An abandoned attempt must have no effect.
    void this.#getTokenAndOpen(() => this.#timer === attempt)
  }

  /** Gets a token, then opens the socket; synchronously if there is no `getToken`. Never rejects. */
  async #getTokenAndOpen (isCurrent: () => boolean): Promise<void> {
    const { getToken } = this.#options
    let protocols
    try {
      const token: unknown = (getToken && await getToken()) ?? ''
      if (typeof token !== 'string') throw new TypeError(`it returned a ${typeof token}`)
      protocols = protocolsFor(token)
    } catch (cause) {
      if (!isCurrent()) return
      this.#emitter.emit('error', new ClientError('token_failed', `getToken failed: ${messageOf(cause)}`, { cause }))
      this.#handleEnd('backoff', 'token', 1006, 'no token')
      return
    }
    const { length } = protocols.join(', ')
    // A browser doesn't report that a server refused a header.
    if (length > MAX_HEADER_BYTES && isCurrent()) {
      this.#emitter.emit('error', new ClientError('token_too_large', `the token makes a header of ${length} bytes: many proxies refuse more than ${MAX_HEADER_BYTES}`))
    }
    if (isCurrent()) this.#openSocket(protocols)
  }

  #openSocket (protocols: string[]): void {
    const { WebSocket } = this.#options
    try {
      const url = this.#events.target()
      this.#url = redact(url)
      this.socket = WebSocket && new Socket(WebSocket, url, protocols, this.#environment.clock, {
        message: this.#events.message,
        latency: this.#events.latency,
        sent: () => { this.#counters.messagesSent++ },
        close: (code, reason, cause) => {
          this.#cause = cause
          this.#handleEnd(ruleOf(code), 'lost', code, reason)
        },
        silent: () => { this.replace('silent') }
      })
    } catch (cause) {
      // If the constructor rejects the URL now, it will reject it again.
      this.#emitter.emit('error', new ClientError('connection_failed', `the WebSocket can't be opened: ${redact(messageOf(cause))}`, { cause }))
      this.#stop('refused', undefined)
    }
  }

  /** Handles the end of an attempt or a connection: waits for the next attempt, or gives up. */
  #handleEnd (rule: Reconnect, reason: StateReason, code: number, text: string): void {
    const { reconnect, maxReconnectAttempts, getToken } = this.#options
    const info = { code, reason: text, wasConnected: this.state === 'connected' }
    const isOffline = !this.#environment.isOnline()
    const mayRefresh = rule === 'fresh-token' && getToken !== undefined && !this.#triedFreshToken
    if (rule === 'never' || (rule === 'fresh-token' && !mayRefresh)) this.#stop('refused', info)
    else if (!reconnect) this.#stop('disabled', info)
    else if (!isOffline && !mayRefresh && this.#failedAttempts >= maxReconnectAttempts) this.#stop('attempts', info)
    else {
      this.#triedFreshToken ||= mayRefresh
      this.#rule = rule
      const ms = this.#delayMs(rule, isOffline)
      this.#drop()
      this.#restart(ms, () => { this.#startAttempt() })
      this.#setState('waiting', isOffline ? 'offline' : reason)
      this.#emitClose(info)
    }
  }

  /** Returns the delay until the next attempt. */
  #delayMs (rule: Reconnect, isOffline: boolean): number {
    // Attempts while offline don't count. They are made nevertheless, because a server on the same machine is reachable
    // without a network.
    if (isOffline) return this.#options.maxReconnectIntervalMs
    if (this.#isJustAwake && rule !== 'later') return 0
    return delayMs(rule, ++this.#failedAttempts, this.#environment.random(), this.#options)
  }

  #stop (reason: StateReason, info: CloseInfo | undefined): void {
    this.#drop()
    this.#timer?.cancel()
    this.#timer = undefined
    if (reason !== 'attempts') {
      this.#stopWatching?.()
      this.#stopWatching = undefined
    }
    this.#setState('closed', reason)
    if (info) this.#emitClose(info)
  }

  #emitClose (info: CloseInfo): void {
    if (!info.wasConnected && this.reason !== 'called') {
      const cause = this.#cause
      const why = info.reason || redact(messageOf(cause))
      this.#emitter.emit('error', new ClientError('connection_failed', `no connection to ${this.#url}: ${info.code} ${why}`.trim(), { cause }))
    }
    this.#emitter.emit('close', info)
  }

  /**
   * Whether the page has just woken up. A browser reports a connection that died during sleep only some milliseconds after
   * the wake-up. Until then it may deliver messages that arrived before the sleep.
   */
  get #isJustAwake (): boolean {
    return this.#wokeAt !== undefined && this.#environment.clock.monotonic() - this.#wokeAt <= REPLY_TIMEOUT_MS
  }

  #wake (event: WakeEvent): void {
    const { state } = this
    if (event !== 'offline') this.#wokeAt = this.#environment.clock.monotonic()
    if (state === 'connected') {
      this.socket?.probe()
    } else if (event !== 'offline' && (state === 'closed' || (state === 'waiting' && this.#rule !== 'later'))) {
      this.connect()
    } else if (event === 'online' && state === 'connecting' && this.#mayReplace) {
      // The attempt began on a network that no longer exists.
      this.#drop()
      this.#startAttempt(false)
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

  #setState (state: ConnectionState, reason?: StateReason): void {
    this.state = state
    this.reason = reason
    this.#events.state()
  }
}

/** Returns an error's message or code. In Node.js an error about several addresses of a host has an empty message. */
function messageOf (cause: unknown): string {
  const { message, code } = Object(cause) as { message?: unknown, code?: unknown }
  return [cause, message, code].find((text): text is string => typeof text === 'string' && text !== '') ?? ''
}
