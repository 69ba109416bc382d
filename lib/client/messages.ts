import type { ConnectionEstablished, ServerMessage } from '../protocol/messages.js'

export type {
  AICompleted, AIErrorInfo, AIFailed, AIProgress, AIProgressed, AIResult, AIStarted, AITask, BatchUpdate, Cancelling,
  ClientMessage, ConnectionEstablished, LargeMessage, Pong, ProtocolError, ServerMessage, Subscribed, Unsubscribed
} from '../protocol/messages.js'

/** A message of the app's own: its type is not in the protocol. */
export interface AppMessage {
  type: string
  [field: string]: unknown
}

/** The server's limits for this connection, from the `connection` message. Without a field there is no such limit. */
export type ClientLimits = NonNullable<ConnectionEstablished['limits']>

/** The position of a stream and the result of its recovery, from `connection` and `subscribed`. */
export type StreamReply = Partial<NonNullable<ConnectionEstablished['user']>>

export type GapReason = Exclude<NonNullable<StreamReply['reason']>, 'new'>

/** Any incoming message, before its type is checked. */
export interface Incoming {
  readonly type: string
  readonly sessionId?: string
  readonly seq?: number
  readonly userSeq?: number
  readonly jobId?: string
  readonly [field: string]: unknown
}

/** Narrows a message to a protocol type. Doesn't validate the fields: the client trusts the server. */
export function isKnown<T extends ServerMessage['type']> (type: T, message: Incoming): message is Incoming & Extract<ServerMessage, { type: T }> {
  return message.type === type
}

/** Parses a message. Returns undefined if the text is not one. */
export function parseMessage (text: string): Incoming | undefined {
  try {
    const message = JSON.parse(text) as Incoming | null
    return typeof message?.type === 'string' ? message : undefined
  } catch {
    return undefined
  }
}

/**
 * Returns the session ids in a `subscribe` or `unsubscribe` message, without invalid entries. Returns undefined if the message
 * names no sessions.
 */
export function sessionsOf ({ sessionId, sessions = sessionId }: Incoming): string[] | undefined {
  if (sessions === undefined) return undefined
  const ids = ([sessions].flat() as unknown[]).map((entry) => (entry as { sessionId?: unknown } | null)?.sessionId ?? entry)
  return ids.filter((id) => typeof id === 'string')
}
