/** The client without a framework, for browsers and Node.js. */
import { Client } from './client.js'
import { environmentOf } from './environment.js'
import type { AppMessage } from './messages.js'
import type { ClientOptions } from './options.js'

/**
 * Makes a client. It touches nothing before it connects, so it may be made anywhere, also where a page is rendered on a
 * server.
 *
 * @throws `ClientError` `invalid_option` for an unknown option, and for a value of another type
 */
export function createClient<App extends { type: string } = AppMessage> (options: ClientOptions<App> | null = {}): Client<App> {
  return new Client(options, environmentOf(globalThis))
}

export { ClientError, type ClientErrorCode } from './errors.js'
export type { Client, ClientMetrics, EventOf, JobStore, OutgoingMessage } from './client.js'
export type { ClientEvents, ClientOptions, Gap, SubscriptionChange } from './options.js'
export type { JobsSnapshot, JobView, SubscriptionStatus } from './jobs.js'
export type { CloseInfo, ConnectionState, StateChange, StateReason } from './reconnecting-socket.js'
export type { WebSocketConstructor, WebSocketLike } from './environment.js'
export type {
  AICompleted, AIErrorInfo, AIFailed, AIProgress, AIProgressed, AIResult, AIStarted, AITask, AppMessage, BatchUpdate, Cancelling,
  ClientLimits, ClientMessage, ConnectionEstablished, GapReason, LargeMessage, Pong, ProtocolError, ServerMessage, Subscribed, Unsubscribed
} from './messages.js'
