import { serializeAppMessage } from '../connections/app-message.js'
import type { PublishOptions, Stream } from '../streams/broker.js'
import { checkId } from './report-values.js'

/** The arguments of a broker's `publish`. */
export type Broadcast = [stream: Stream, body: string, options: PublishOptions]

/** Returns the app's own message to a session. A batch is never kept for replay. */
export function toSession (sessionId: string, message: unknown, timestamp: string, durable = true): Broadcast {
  const stream = `session:${checkId('sessionId', sessionId)}` as const
  const body = serializeAppMessage(message, timestamp, sessionId)
  return [stream, body, { durable: durable && (message as { type: string }).type !== 'batch_update' }]
}

/** Returns the app's own message to a user. */
export function toUser (userId: string, message: unknown, timestamp: string, durable = true): Broadcast {
  return [`user:${checkId('userId', userId)}`, serializeAppMessage(message, timestamp), { durable }]
}

/** Returns the app's own message to all clients. */
export function toAll (message: unknown, timestamp: string): Broadcast {
  return ['all', serializeAppMessage(message, timestamp), { durable: false }]
}
