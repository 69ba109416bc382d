/** The framework-free client for browsers and Node.js. */
import { Client } from './client.js'
import { environmentOf } from './environment.js'
import type { AppMessage } from './messages.js'
import type { ClientOptions } from './options.js'

/**
 * Creates a client. Creating one has no side effects, so it is safe during server-side rendering.
 *
 * @throws `ClientError` `invalid_option` if an option is unknown or has a value of the wrong type
 */
export function createClient<App extends { type: string } = AppMessage> (options: ClientOptions<App> | null = {}): Client<App> {
  return new Client(options, environmentOf(globalThis))
}

export { ClientError, type ClientErrorCode } from './errors.js'
export type { Client, ClientMetrics, EventOf, JobStore, OutgoingMessage } from './client.js'
export type { ClientEvents, ClientOptions, Gap, SubscriptionChange } from './options.js'
export type { JobsSnapshot, JobView, SubscriptionStatus } from './jobs.js'
export type { CloseInfo, ConnectionState, StateChange, StateReason, Token } from './reconnecting-socket.js'
export type { WebSocketConstructor, WebSocketLike } from './environment.js'
export type {
  AICompleted, AIErrorInfo, AIFailed, AIProgress, AIProgressed, AIResult, AIStarted, AITask, AppMessage, BatchUpdate, Cancelling,
  ClientLimits, ClientMessage, ConnectionEstablished, GapReason, LargeMessage, Pong, ProtocolError, ServerMessage, Subscribed, Unsubscribed
} from './messages.js'
