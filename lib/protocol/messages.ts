import { Type, type Static } from '@sinclair/typebox'
import { aiFinishReasons, errorCodes, type AIFinishReason, type ErrorCode } from './codes.js'
import { MAX_ID_LENGTH } from './ids.js'

/**
 * A session or user id. Accepts the same values as `isId`. The pattern works with and without the `u` flag. It also limits the
 * length, because `maxLength` is ambiguous: Ajv counts code points, TypeBox counts UTF-16 units.
 */
export const Id = Type.String({
  description: `1 to ${MAX_ID_LENGTH} characters, none of them a control character`,
  minLength: 1,
  pattern: `^(?:[^\\u0000-\\u001f\\u007f-\\u009f\\ud800-\\udfff]|[\\ud800-\\udbff][\\udc00-\\udfff]){1,${MAX_ID_LENGTH}}$`
})

/** ISO 8601 in UTC, in the format of `Date.prototype.toISOString`. */
const Timestamp = Type.String({ pattern: '^\\d{4}-\\d{2}-\\d{2}T\\d{2}:\\d{2}:\\d{2}\\.\\d{3}Z$' })

const open = { additionalProperties: true }

// ---- client to server

export const Ping = Type.Object({ type: Type.Literal('ping') }, open)

/**
 * A session to subscribe to. `since` is the client's last position, as `<epoch>:<seq>`. `have` says how much of each job's text
 * the client already has. The server treats an invalid value like an absent one, and sends the snapshot.
 */
const request = { sessionId: Id, since: Type.Optional(Type.Unknown()), have: Type.Optional(Type.Unknown()) }
/** A field that belongs to the other form of the message. */
const absent = Type.Optional(Type.Never())

/** Subscribes to one session, or with `sessions` to many: at most `limits.sessions` of the `connection` message. */
export const Subscribe = Type.Union([
  Type.Object({ type: Type.Literal('subscribe'), ...request, sessions: absent }, open),
  Type.Object({
    type: Type.Literal('subscribe'), sessionId: absent, sessions: Type.Array(Type.Object(request, open), { minItems: 1 })
  }, open)
])

/** Unsubscribes from one session, with `sessions` from many, and without either field from all. */
export const Unsubscribe = Type.Union([
  Type.Object({ type: Type.Literal('unsubscribe'), sessionId: Type.Optional(Id), sessions: absent }, open),
  Type.Object({ type: Type.Literal('unsubscribe'), sessionId: absent, sessions: Type.Array(Id, { minItems: 1 }) }, open)
])

/** Requests the cancellation of a job. Without a `jobId`, of the session's newest running job. */
export const Cancel = Type.Object({ type: Type.Literal('cancel'), sessionId: Id, jobId: Type.Optional(Id) }, open)

export const ClientMessage = Type.Union([Ping, ...Subscribe.anyOf, ...Unsubscribe.anyOf, Cancel])

// ---- server to client: about the connection

/** The stream's position, and the outcome of the recovery. */
const position = {
  /** Identifies one run of the stream's numbering. Numbers of different epochs can't be compared. */
  epoch: Type.String(),
  /** The number of the latest message in the stream. */
  seq: Type.Integer({ minimum: 0 }),
  /** Whether the stream continues from the client's `since` without a gap. */
  recovered: Type.Boolean(),
  /** How many of the next messages of this stream are replayed. */
  replaying: Type.Integer({ minimum: 0 }),
  /** Why the recovery failed. */
  reason: Type.Optional(Type.Union([
    Type.Literal('new'), Type.Literal('expired'), Type.Literal('restarted'), Type.Literal('overflow')
  ]))
}

/** The limits of the connection. If a field is absent, there is no such limit. */
const ConnectionLimits = Type.Object({
  /** Maximum number of subscribed sessions, and of entries in one `subscribe` or `unsubscribe`. */
  sessions: Type.Optional(Type.Integer({ minimum: 1 })),
  /** Sustained rate of messages to the server, and how many may be sent at once. */
  messagesPerSecond: Type.Optional(Type.Number({ exclusiveMinimum: 0 })),
  burst: Type.Optional(Type.Number({ exclusiveMinimum: 0 })),
  /** Maximum size of a message to the server, in bytes. */
  messageBytes: Type.Optional(Type.Integer({ minimum: 1 }))
}, open)

export const ConnectionEstablished = Type.Object({
  type: Type.Literal('connection'),
  status: Type.Literal('connected'),
  clientId: Type.String(),
  timestamp: Timestamp,
  limits: Type.Optional(ConnectionLimits),
  sessionId: Type.Optional(Id),
  ...Type.Partial(Type.Object(position)).properties,
  user: Type.Optional(Type.Object(position))
}, open)

export const Pong = Type.Object({ type: Type.Literal('pong'), timestamp: Timestamp }, open)

/** The reply to `subscribe`. Also sent without a request, with the reason `restarted`, if the server has lost history. */
export const SessionSubscribed = Type.Object({
  type: Type.Literal('subscribed'),
  sessionId: Id,
  timestamp: Timestamp,
  ...Type.Partial(Type.Object(position)).properties,
  user: absent
}, open)

/** Sent without a request if the server has lost history of the user's own messages. */
export const UserSubscribed = Type.Object({
  type: Type.Literal('subscribed'), sessionId: absent, timestamp: Timestamp, user: Type.Object(position)
}, open)

export const Subscribed = Type.Union([SessionSubscribed, UserSubscribed])

export const Unsubscribed = Type.Object({
  type: Type.Literal('unsubscribed'),
  timestamp: Timestamp,
  sessionId: Type.Optional(Id),
  reason: Type.Optional(Type.Literal('revoked'))
}, open)

/** Confirms that the job is being cancelled. Its `ai_error` of type `cancelled` follows, unless it ends otherwise before. */
export const Cancelling = Type.Object({
  type: Type.Literal('cancelling'), sessionId: Id, jobId: Id, timestamp: Timestamp
}, open)

/**
 * Announces that the next message is long, and takes `bytes` on the wire. Sent before each message of more than 64 KiB to
 * clients that offered the subprotocol, so that they don't consider the connection dead while the message arrives.
 */
export const LargeMessage = Type.Object({
  type: Type.Literal('large_message'), bytes: Type.Integer({ minimum: 0 }), timestamp: Timestamp
}, open)

export const ProtocolError = Type.Object({
  type: Type.Literal('error'),
  // A union, because TypeBox does not validate `enum`.
  code: Type.Unsafe<ErrorCode>(Type.Union(Object.keys(errorCodes).map((code) => Type.Literal(code)))),
  message: Type.String(),
  timestamp: Timestamp,
  /** The type of the rejected message. Absent if that could not be parsed, and for an app message. */
  request: Type.Optional(Type.Union([Type.Literal('subscribe'), Type.Literal('unsubscribe'), Type.Literal('cancel')])),
  sessionId: Type.Optional(Type.String()),
  jobId: Type.Optional(Type.String())
}, open)

// ---- server to client: about a job

/** The task of the job. An app's own fields are passed through. */
export const AITask = Type.Object({
  prompt: Type.Optional(Type.String()),
  mode: Type.Optional(Type.String()),
  targetFile: Type.Optional(Type.String())
}, open)

/** The progress of the job: chunks received from the model so far, and their text length in UTF-16 units. */
export const AIProgress = Type.Object({
  chunksReceived: Type.Optional(Type.Number()),
  contentLength: Type.Optional(Type.Number()),
  /** A piece of the job's text, and its offset in the text in UTF-16 units. */
  delta: Type.Optional(Type.String()),
  offset: Type.Optional(Type.Integer({ minimum: 0 })),
  /** The text before `offset` is no longer kept. */
  truncated: Type.Optional(Type.Boolean())
}, open)

/** Token usage of the job, as the provider reports it. */
export const AIUsage = Type.Object({
  /** Tokens of the prompt, including cached ones. */
  inputTokens: Type.Optional(Type.Number()),
  /** Tokens that the model generated, including reasoning. */
  outputTokens: Type.Optional(Type.Number()),
  totalTokens: Type.Optional(Type.Number())
}, open)

export const AIResult = Type.Object({
  mode: Type.Optional(Type.String()),
  contentLength: Type.Optional(Type.Number()),
  chunks: Type.Optional(Type.Number()),
  targetFile: Type.Optional(Type.String()),
  /** Why the model stopped generating. */
  finishReason: Type.Optional(Type.Unsafe<AIFinishReason>(Type.Union(aiFinishReasons.map((reason) => Type.Literal(reason))))),
  /** The finish reason as the provider names it. */
  rawFinishReason: Type.Optional(Type.String()),
  usage: Type.Optional(AIUsage)
}, open)

/**
 * An error of a job. `type` is for programs (`rate_limit_error`), `message` is for people. `retryable` says whether the same
 * task can succeed later without a change. It is absent if that is unknown, for example for an app's own type.
 */
export const AIErrorInfo = Type.Object({ message: Type.String(), type: Type.String(), retryable: Type.Optional(Type.Boolean()) }, open)

/**
 * Marks a replayed message. `snapshot`: it is part of the snapshot of the present state. `missed`: the client was recovered,
 * and the message comes after its `since`. Live messages have no such field.
 */
const replayed = Type.Optional(Type.Union([Type.Literal('snapshot'), Type.Literal('missed')]))
const seq = Type.Optional(position.seq)
const jobId = Type.Optional(Id)
/** Whether this is the real end of a job whose end was presumed before. */
const supersedes = Type.Optional(Type.Boolean())
/** Whether the original message was too large to keep, so that only some of its fields are present. */
const truncated = Type.Optional(Type.Boolean())

export const AIStarted = Type.Object({
  type: Type.Literal('ai_start'), sessionId: Id, task: AITask, timestamp: Timestamp, truncated, jobId, seq, replayed
}, open)

export const AIProgressed = Type.Object({
  type: Type.Literal('ai_progress'), sessionId: Id, progress: AIProgress, timestamp: Timestamp, truncated, jobId, replayed
}, open)

export const AICompleted = Type.Object({
  type: Type.Literal('ai_complete'), sessionId: Id, result: AIResult, timestamp: Timestamp, truncated, jobId, supersedes, seq, replayed
}, open)

export const AIFailed = Type.Object({
  type: Type.Literal('ai_error'), sessionId: Id, error: AIErrorInfo, timestamp: Timestamp, truncated, jobId, supersedes, seq, replayed
}, open)

/** A batch of messages of one session. */
export const BatchUpdate = Type.Object({
  type: Type.Literal('batch_update'), sessionId: Id, messages: Type.Array(Type.Unknown()), timestamp: Timestamp
}, open)

export const ServerMessage = Type.Union([
  ConnectionEstablished, Pong, ...Subscribed.anyOf, Unsubscribed, Cancelling, LargeMessage, ProtocolError,
  AIStarted, AIProgressed, AICompleted, AIFailed, BatchUpdate
])

export type Ping = Static<typeof Ping>
export type Subscribe = Static<typeof Subscribe>
export type Unsubscribe = Static<typeof Unsubscribe>
export type Cancel = Static<typeof Cancel>
export type Cancelling = Static<typeof Cancelling>
export type Replayed = NonNullable<AIStarted['replayed']>
export type ClientMessage = Static<typeof ClientMessage>
export type ConnectionLimits = Static<typeof ConnectionLimits>
export type ConnectionEstablished = Static<typeof ConnectionEstablished>
export type Pong = Static<typeof Pong>
export type SessionSubscribed = Static<typeof SessionSubscribed>
export type UserSubscribed = Static<typeof UserSubscribed>
export type Subscribed = Static<typeof Subscribed>
export type Unsubscribed = Static<typeof Unsubscribed>
export type LargeMessage = Static<typeof LargeMessage>
export type ProtocolError = Static<typeof ProtocolError>
export type AITask = Static<typeof AITask> & Record<string, unknown>
export type AIProgress = Static<typeof AIProgress> & Record<string, unknown>
export type AIResult = Static<typeof AIResult> & Record<string, unknown>
export type AIUsage = Static<typeof AIUsage> & Record<string, unknown>
export type AIErrorInfo = Static<typeof AIErrorInfo> & Record<string, unknown>
export type AIStarted = Static<typeof AIStarted>
export type AIProgressed = Static<typeof AIProgressed>
export type AICompleted = Static<typeof AICompleted>
export type AIFailed = Static<typeof AIFailed>
export type BatchUpdate = Static<typeof BatchUpdate>
/** The messages that the protocol defines. An app's broadcasts have other types. */
export type ServerMessage = Static<typeof ServerMessage>

/**
 * Message types that only the server may send. An app's broadcast can't use them: an `ai_complete` would end a spinner without
 * checking the job rules, and a `connection` would confuse every client.
 */
export const reservedTypes: ReadonlySet<string> = new Set([
  'connection', 'pong', 'subscribed', 'unsubscribed', 'cancelling', 'large_message', 'error', 'ai_start', 'ai_progress', 'ai_complete', 'ai_error'
])
