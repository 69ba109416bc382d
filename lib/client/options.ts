import { ClientError } from './errors.js'
import type { Environment, WebSocketConstructor } from './environment.js'
import type { SubscriptionStatus } from './jobs.js'
import type { AppMessage, ConnectionEstablished, GapReason, ServerMessage } from './messages.js'
import type { CloseInfo, StateChange, Token } from './reconnecting-socket.js'

/** Something was missed that can't be had any more; what is known now follows. */
export interface Gap {
  /** Absent when it is the user's own stream. */
  readonly sessionId: string | undefined
  /** `expired` and `overflow`: too old, or too much. `restarted`: the server is another one. */
  readonly reason: GapReason
}

/** A session is followed from now on, is not any more, or has to wait. */
export interface SubscriptionChange {
  readonly sessionId: string
  readonly status: SubscriptionStatus
}

/** `App` is the union of the app's own messages, if it wants to have them typed. An option that is `null` is left out. */
export interface ClientOptions<App extends { type: string } = AppMessage> {
  /**
   * Where to connect: `ws:`, `wss:`, `http:` or `https:`, or a path on the page's own host. Outside of a browser it must
   * be given.
   * @default '/ws' on the page's own host, `wss:` on an https page
   */
  url?: string | null | undefined
  /** Who the user is, for a server that does not authenticate. */
  userId?: string | null | undefined
  /** A session to follow from the start. More can be followed with `subscribe`. */
  sessionId?: string | null | undefined
  /**
   * Called before every attempt, so that no token is stale. Without a token (`null`, `undefined` or an empty string) the
   * client connects without one. A throw, a rejection, and anything that is not a string are a failed attempt, and an
   * `error` of `token_failed`.
   */
  getToken?: (() => Token | PromiseLike<Token>) | null | undefined
  /** Whether to come back after the connection ends. @default true */
  reconnect?: boolean | null | undefined
  /**
   * The base of the time between attempts, in milliseconds: before the n-th it waits for a random time of up to
   * `reconnectInterval` · 2ⁿ⁻¹. @default 3000
   */
  reconnectInterval?: number | null | undefined
  /** The longest time between attempts, in milliseconds. @default 30000 */
  maxReconnectIntervalMs?: number | null | undefined
  /**
   * Attempts after the connection ended or could not be made, until it gives up. Those without a network don't count. 0
   * is none. @default 10
   */
  maxReconnectAttempts?: number | null | undefined
  /** How long an attempt may take, from `getToken` to the server's `connection` message, in milliseconds. @default 10000 */
  connectTimeoutMs?: number | null | undefined
  /** Messages that `send` keeps while there is no connection. @default 100 */
  maxQueuedMessages?: number | null | undefined
  /** The WebSocket to use, such as that of ws. Node.js before 22 has none of its own. @default globalThis.WebSocket */
  WebSocket?: WebSocketConstructor | null | undefined
  /** Every message, in order, each once. */
  onMessage?: ((message: ServerMessage | App) => void) | null | undefined
  /** It is connected. */
  onOpen?: ((message: ConnectionEstablished) => void) | null | undefined
  /** A connection, or an attempt to make one, has ended. It may come back: `state` tells. */
  onClose?: ((info: CloseInfo) => void) | null | undefined
  onError?: ((error: ClientError) => void) | null | undefined
  onGap?: ((gap: Gap) => void) | null | undefined
}

/** What can be listened to beside the types of messages. */
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

/** The options that are given, with the defaults of the others. */
export type Resolved<App extends { type: string }> =
  { readonly [K in keyof ClientOptions]: NonNullable<ClientOptions<App>[K]> | undefined } &
  { readonly [K in keyof typeof defaults]: NonNullable<ClientOptions[K]> }

/** A value of the right type for each option. Complete before the compiler. */
const samples: Readonly<Record<keyof ClientOptions, unknown>> = {
  ...defaults, url: '', userId: '', sessionId: '', getToken: Function, WebSocket: Function,
  onMessage: Function, onOpen: Function, onClose: Function, onError: Function, onGap: Function
}

/**
 * Checks options, and returns those that have a value. `null` counts as `undefined`.
 *
 * @param more Samples of a hook's own options.
 * @throws `ClientError` `invalid_option` for an unknown name, and for a value of another type
 */
export function givenOptions (options: object | null, more: object = {}): Record<string, unknown> {
  const known: Record<string, unknown> = { ...samples, ...more }
  const given = Object.entries(options ?? {}).filter(([, value]) => value !== undefined && value !== null)
  for (const [name, value] of given) {
    const type = typeof known[name]
    // NaN compares with nothing: it would be a limit that is never reached.
    const isValid = typeof value === type && (type !== 'number' || value >= 0)
    if (isValid) continue
    const rule = type === 'undefined' ? `is unknown: there are ${Object.keys(known).join(', ')}` : `must be a valid ${type}`
    throw new ClientError('invalid_option', `the option "${name}" ${rule}`)
  }
  return Object.fromEntries(given)
}

/** Fills in the defaults. Throws as `givenOptions`. */
export function resolveOptions<App extends { type: string }> (options: ClientOptions<App> | null, { WebSocket }: Pick<Environment, 'WebSocket'>): Resolved<App> {
  return { WebSocket, ...defaults, ...givenOptions(options) }
}
