import type { ConnectionEstablished, ServerMessage } from '../protocol/messages.js'

export type {
  AICompleted, AIErrorInfo, AIFailed, AIProgress, AIProgressed, AIResult, AIStarted, AITask, BatchUpdate, Cancelling,
  ClientMessage, ConnectionEstablished, LargeMessage, Pong, ProtocolError, ServerMessage, Subscribed, Unsubscribed
} from '../protocol/messages.js'

/** A message of a type that the protocol does not know: the app's own. */
export interface AppMessage {
  type: string
  [field: string]: unknown
}

/** What the server allows this connection, as `connection` states it. A limit that is absent does not exist. */
export type ClientLimits = NonNullable<ConnectionEstablished['limits']>

/** Where a stream is, as `connection` and `subscribed` tell. */
export type Answer = Partial<NonNullable<ConnectionEstablished['user']>>

export type GapReason = Exclude<NonNullable<Answer['reason']>, 'new'>

/** Any message that comes, before it is known which one. */
export interface Incoming {
  readonly type: string
  readonly sessionId?: string
  readonly seq?: number
  readonly userSeq?: number
  readonly jobId?: string
  readonly [field: string]: unknown
}

/** Tells the protocol's messages apart from the app's; what a server sends of its own types is taken at its word. */
export function isKnown<T extends ServerMessage['type']> (type: T, message: Incoming): message is Incoming & Extract<ServerMessage, { type: T }> {
  return message.type === type
}

/** What is no message says nothing. */
export function parseMessage (text: string): Incoming | undefined {
  try {
    const message = JSON.parse(text) as Incoming | null
    return typeof message?.type === 'string' ? message : undefined
  } catch {
    return undefined
  }
}

/**
 * Returns the ids of the sessions that a `subscribe` or an `unsubscribe` is about. Undefined when it names none. What is no
 * id is left out.
 */
export function sessionsOf ({ sessionId, sessions = sessionId }: Incoming): string[] | undefined {
  if (sessions === undefined) return undefined
  const ids = ([sessions].flat() as unknown[]).map((entry) => (entry as { sessionId?: unknown } | null)?.sessionId ?? entry)
  return ids.filter((id) => typeof id === 'string')
}
