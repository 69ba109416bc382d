import type { StateChange, CloseInfo } from './link.js'
import type { ClientError } from './errors.js'
import type { SubscriptionStatus } from './jobs.js'
import type { WebSocketConstructor } from './environment.js'
import type { AppMessage, ConnectionEstablished, GapReason, ServerMessage } from './messages.js'

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

/** `App` is the union of the app's own messages, if it wants to have them typed. */
export interface ClientOptions<App extends { type: string } = AppMessage> {
  /**
   * Where to connect: `ws:`, `wss:`, `http:` or `https:`, or a path on the page's own host. Outside of a browser it must
   * be given.
   * @default '/ws' on the page's own host, `wss:` on an https page
   */
  url?: string | undefined
  /** Who the user is, for a server that does not authenticate. */
  userId?: string | undefined
  /** A session to follow from the start. More can be followed with `subscribe`. */
  sessionId?: string | undefined
  /**
   * Asked before every attempt, so that no token is stale. Without a token it connects without. A throw or a rejection is
   * a failed attempt, and an `error` of `token_failed`.
   */
  getToken?: (() => string | undefined | PromiseLike<string | undefined>) | undefined
  /** Whether to come back after the connection ends. @default true */
  reconnect?: boolean | undefined
  /**
   * The base of the time between attempts, in milliseconds: before the n-th it waits for a random time of up to
   * `reconnectInterval` · 2ⁿ⁻¹. @default 3000
   */
  reconnectInterval?: number | undefined
  /** The longest time between attempts, in milliseconds. @default 30000 */
  maxReconnectIntervalMs?: number | undefined
  /**
   * Attempts after the connection ended or could not be made, until it gives up. Those without a network don't count. 0
   * is none. @default 10
   */
  maxReconnectAttempts?: number | undefined
  /** How long an attempt may take, from `getToken` to the server's `connection` message, in milliseconds. @default 10000 */
  connectTimeoutMs?: number | undefined
  /** Messages that `send` keeps while there is no connection. @default 100 */
  maxQueuedMessages?: number | undefined
  /** The WebSocket to use, such as that of ws. Node.js before 22 has none of its own. @default globalThis.WebSocket */
  WebSocket?: WebSocketConstructor | undefined
  /** Every message, in order, each once. */
  onMessage?: ((message: ServerMessage | App) => void) | undefined
  /** It is connected. */
  onOpen?: ((message: ConnectionEstablished) => void) | undefined
  /** A connection, or an attempt to make one, has ended. It may come back: `state` tells. */
  onClose?: ((info: CloseInfo) => void) | undefined
  onError?: ((error: ClientError) => void) | undefined
  onGap?: ((gap: Gap) => void) | undefined
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

/** With the defaults: what has one is always there. */
export type Resolved<App extends { type: string }> =
  Readonly<ClientOptions<App>> & { readonly [K in keyof typeof defaults]: NonNullable<ClientOptions[K]> }
