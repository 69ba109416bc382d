import { ClientError } from './errors.js'
import type { Environment, WebSocketConstructor } from './environment.js'
import type { SubscriptionStatus } from './jobs.js'
import type { AppMessage, ConnectionEstablished, GapReason, ServerMessage } from './messages.js'
import type { CloseInfo, StateChange, Token } from './reconnecting-socket.js'

/** A recovery failure: the client missed messages that the server can't replay. The current state follows as a snapshot. */
export interface Gap {
  /** Undefined for the user's own stream. */
  readonly sessionId: string | undefined
  /**
   * - `expired`: the missed messages are no longer kept.
   * - `overflow`: too many messages were missed.
   * - `restarted`: the server restarted or is a different one.
   */
  readonly reason: GapReason
}

/** A change of a session's subscription status. */
export interface SubscriptionChange {
  readonly sessionId: string
  readonly status: SubscriptionStatus
}

/** The client's options. `App` is the union of the app's own message types. `null` means the same as `undefined`. */
export interface ClientOptions<App extends { type: string } = AppMessage> {
  /**
   * The server's URL (`ws:`, `wss:`, `http:` or `https:`), or a path on the page's host. Outside a browser it is required and
   * must be absolute.
   * @default '/ws' on the page's own host, `wss:` on an https page
   */
  url?: string | null | undefined
  /** The user's id, for a server that does not authenticate its clients. */
  userId?: string | null | undefined
  /** A session to subscribe to from the start. `subscribe` adds more. */
  sessionId?: string | null | undefined
  /**
   * Returns the token. Called before every attempt, so that the token is fresh. If it returns `null`, `undefined` or an empty
   * string, the client connects without a token. If it throws, rejects or returns any other value, the attempt fails and an
   * `error` event with the code `token_failed` follows.
   */
  getToken?: (() => Token | PromiseLike<Token>) | null | undefined
  /** Whether to reconnect after the connection ends. @default true */
  reconnect?: boolean | null | undefined
  /**
   * The base of the reconnect delay, in milliseconds. Before the n-th attempt the client waits for a random time of up to
   * `reconnectInterval` · 2ⁿ⁻¹. @default 3000
   */
  reconnectInterval?: number | null | undefined
  /** The maximum delay between attempts, in milliseconds. @default 30000 */
  maxReconnectIntervalMs?: number | null | undefined
  /**
   * The maximum number of reconnect attempts in a row before the client gives up. Attempts while offline don't count. 0 means no
   * reconnect attempts. @default 10
   */
  maxReconnectAttempts?: number | null | undefined
  /** The timeout of an attempt, from `getToken` to the server's `connection` message, in milliseconds. @default 10000 */
  connectTimeoutMs?: number | null | undefined
  /** The maximum number of messages that `send` queues while there is no connection. @default 100 */
  maxQueuedMessages?: number | null | undefined
  /** The WebSocket class, such as the one of `ws`. Node.js before 22 has no global one. @default globalThis.WebSocket */
  WebSocket?: WebSocketConstructor | null | undefined
  /** Called for every message, in order and once. */
  onMessage?: ((message: ServerMessage | App) => void) | null | undefined
  /** Called when the client is connected. */
  onOpen?: ((message: ConnectionEstablished) => void) | null | undefined
  /** Called when a connection or an attempt to connect has ended. `state` says whether the client reconnects. */
  onClose?: ((info: CloseInfo) => void) | null | undefined
  /** Called for errors of the client and for `error` messages of the server. */
  onError?: ((error: ClientError) => void) | null | undefined
  /** Called when messages were missed that the server can't replay. */
  onGap?: ((gap: Gap) => void) | null | undefined
}

/** The events that `on` accepts in addition to message types. */
export interface ClientEvents<App extends { type: string } = AppMessage> {
  message: ServerMessage | App
  open: ConnectionEstablished
  close: CloseInfo
  error: ClientError
  gap: Gap
  subscription: SubscriptionChange
  state: StateChange
}

export const defaults = {
  reconnect: true,
  reconnectInterval: 3000,
  maxReconnectIntervalMs: 30_000,
  maxReconnectAttempts: 10,
  connectTimeoutMs: 10_000,
  maxQueuedMessages: 100
} as const

/** The options with defaults filled in. */
export type Resolved<App extends { type: string }> =
  { readonly [K in keyof ClientOptions]: NonNullable<ClientOptions<App>[K]> | undefined } &
  { readonly [K in keyof typeof defaults]: NonNullable<ClientOptions[K]> }

/** A value of the correct type for each option. The compiler checks that none is missing. */
const samples: Readonly<Record<keyof ClientOptions, unknown>> = {
  ...defaults, url: '', userId: '', sessionId: '', getToken: Function, WebSocket: Function,
  onMessage: Function, onOpen: Function, onClose: Function, onError: Function, onGap: Function
}

/**
 * Validates options and returns those that have a value. `null` counts as `undefined`.
 *
 * @param extra Sample values of a hook's own options.
 * @throws `ClientError` `invalid_option` if an option is unknown or has a value of the wrong type
 */
export function checkOptions (options: object | null, extra: object = {}): Record<string, unknown> {
  const known: Record<string, unknown> = { ...samples, ...extra }
  const given = Object.entries(options ?? {}).filter(([, value]) => value !== undefined && value !== null)
  for (const [name, value] of given) {
    const type = typeof known[name]
    // `>=` also rejects NaN, which would be a limit that is never reached.
    const isValid = typeof value === type && (type !== 'number' || value >= 0)
    if (isValid) continue
    const rule = type === 'undefined' ? `is unknown: known options are ${Object.keys(known).join(', ')}` : `must be a valid ${type}`
    throw new ClientError('invalid_option', `the option "${name}" ${rule}`)
  }
  return Object.fromEntries(given)
}

/** Validates options and fills in the defaults. Throws like `checkOptions`. */
export function resolveOptions<App extends { type: string }> (options: ClientOptions<App> | null, { WebSocket }: Pick<Environment, 'WebSocket'>): Resolved<App> {
  return { WebSocket, ...defaults, ...checkOptions(options) }
}
