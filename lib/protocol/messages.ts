import { Type, type Static } from '@sinclair/typebox'
import { aiFinishReasons, errorCodes, type AIFinishReason, type ErrorCode } from './codes.js'
import { MAX_ID_LENGTH } from './ids.js'

/**
 * A session's or a user's id, as `isId` checks it. The pattern means the same with and without the `u` flag. It counts too,
 * because `maxLength` would not: Ajv counts code points, TypeBox UTF-16 units.
 */
export const Id = Type.String({
  description: `1 to ${MAX_ID_LENGTH} characters, none of them a control character`,
  minLength: 1,
  pattern: `^(?:[^\\u0000-\\u001f\\u007f-\\u009f\\ud800-\\udfff]|[\\ud800-\\udbff][\\udc00-\\udfff]){1,${MAX_ID_LENGTH}}$`
})

/** ISO 8601 in UTC, as `Date.prototype.toISOString` writes it. */
const Timestamp = Type.String({ pattern: '^\\d{4}-\\d{2}-\\d{2}T\\d{2}:\\d{2}:\\d{2}\\.\\d{3}Z$' })

const open = { additionalProperties: true }

// ---- client to server

export const Ping = Type.Object({ type: Type.Literal('ping') }, open)

/**
 * A session to follow. `since` is where the reader was, `<epoch>:<seq>`; `have` is how much it holds of jobs' texts, by job.
 * Either may be anything: what can't be read counts as absent, and the reader gets the present state.
 */
const request = { sessionId: Id, since: Type.Optional(Type.Unknown()), have: Type.Optional(Type.Unknown()) }
/** A field of the other form of a message. */
const absent = Type.Optional(Type.Never())

/** With `sessions` it follows many sessions: at most as many as `limits.sessions` of the `connection` message says. */
export const Subscribe = Type.Union([
  Type.Object({ type: Type.Literal('subscribe'), ...request, sessions: absent }, open),
  Type.Object({
    type: Type.Literal('subscribe'), sessionId: absent, sessions: Type.Array(Type.Object(request, open), { minItems: 1 })
  }, open)
])

/** With `sessions` it leaves many sessions, and with neither `sessionId` nor `sessions` it leaves every session. */
export const Unsubscribe = Type.Union([
  Type.Object({ type: Type.Literal('unsubscribe'), sessionId: Type.Optional(Id), sessions: absent }, open),
  Type.Object({ type: Type.Literal('unsubscribe'), sessionId: absent, sessions: Type.Array(Id, { minItems: 1 }) }, open)
])

/** Asks to end a job. Without a `jobId` the session's newest running one is meant. */
export const Cancel = Type.Object({ type: Type.Literal('cancel'), sessionId: Id, jobId: Type.Optional(Id) }, open)

export const ClientMessage = Type.Union([Ping, ...Subscribe.anyOf, ...Unsubscribe.anyOf, Cancel])

// ---- server to client: about the connection

/** Where a stream is, and what of it comes next. */
const position = {
  /** Which life of the stream; numbers of two can't be compared. */
  epoch: Type.String(),
  /** The number of its latest message: the head. */
  seq: Type.Integer({ minimum: 0 }),
  /** Whether the reader's `since` is continued without a gap. */
  recovered: Type.Boolean(),
  /** How many of the next messages of this stream are from the past. */
  replaying: Type.Integer({ minimum: 0 }),
  /** Why it was not recovered. */
  reason: Type.Optional(Type.Union([
    Type.Literal('new'), Type.Literal('expired'), Type.Literal('restarted'), Type.Literal('overflow')
  ]))
}

/** What a connection may do. A limit that is absent does not exist. */
const ConnectionLimits = Type.Object({
  /** Sessions that it may follow, and entries that one `subscribe` or `unsubscribe` may hold. */
  sessions: Type.Optional(Type.Integer({ minimum: 1 })),
  /** Messages that it may send in the long run, and at once. */
  messagesPerSecond: Type.Optional(Type.Number({ exclusiveMinimum: 0 })),
  burst: Type.Optional(Type.Number({ exclusiveMinimum: 0 })),
  /** Bytes that a message to the server may have. */
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

export const Subscribed = Type.Object({
  type: Type.Literal('subscribed'),
  sessionId: Id,
  timestamp: Timestamp,
  ...Type.Partial(Type.Object(position)).properties
}, open)

export const Unsubscribed = Type.Object({
  type: Type.Literal('unsubscribed'),
  timestamp: Timestamp,
  sessionId: Type.Optional(Id),
  reason: Type.Optional(Type.Literal('revoked'))
}, open)

/** The job was told to end. Its `ai_error` of type `cancelled` follows, unless another end comes first. */
export const Cancelling = Type.Object({
  type: Type.Literal('cancelling'), sessionId: Id, jobId: Id, timestamp: Timestamp
}, open)

/**
 * Announces that the next message is long: `bytes` of it are on their way. Sent to clients that offered the subprotocol, ahead
 * of each message of more than 64 KiB, so that they don't take a connection for dead on which a long message is arriving.
 */
export const LargeMessage = Type.Object({
  type: Type.Literal('large_message'), bytes: Type.Integer({ minimum: 0 }), timestamp: Timestamp
}, open)

export const ProtocolError = Type.Object({
  type: Type.Literal('error'),
  // A union, because TypeBox does not look at `enum`.
  code: Type.Unsafe<ErrorCode>(Type.Union(Object.keys(errorCodes).map((code) => Type.Literal(code)))),
  message: Type.String(),
  timestamp: Timestamp,
  /** The type of the message that it answers. Absent where that was not to be read, and for a message of the app's own. */
  request: Type.Optional(Type.Union([Type.Literal('subscribe'), Type.Literal('unsubscribe'), Type.Literal('cancel')])),
  sessionId: Type.Optional(Type.String()),
  jobId: Type.Optional(Type.String())
}, open)

// ---- server to client: about a job

/** What the job was asked to do. Further fields of the app's own pass through. */
export const AITask = Type.Object({
  prompt: Type.Optional(Type.String()),
  mode: Type.Optional(Type.String()),
  targetFile: Type.Optional(Type.String())
}, open)

/** How far the job is: chunks from the model so far, and the UTF-16 units of text in them. */
export const AIProgress = Type.Object({
  chunksReceived: Type.Optional(Type.Number()),
  contentLength: Type.Optional(Type.Number()),
  /** A piece of the job's text, and where in the text it begins, in UTF-16 units. */
  delta: Type.Optional(Type.String()),
  offset: Type.Optional(Type.Integer({ minimum: 0 })),
  /** The text before `offset` is no longer kept. */
  truncated: Type.Optional(Type.Boolean())
}, open)

/** Tokens that the job used, as its provider reports them. */
export const AIUsage = Type.Object({
  /** Tokens of the prompt, cached ones included. */
  inputTokens: Type.Optional(Type.Number()),
  /** Tokens that the model wrote, reasoning included. */
  outputTokens: Type.Optional(Type.Number()),
  totalTokens: Type.Optional(Type.Number())
}, open)

export const AIResult = Type.Object({
  mode: Type.Optional(Type.String()),
  contentLength: Type.Optional(Type.Number()),
  chunks: Type.Optional(Type.Number()),
  targetFile: Type.Optional(Type.String()),
  /** Why the model stopped writing. */
  finishReason: Type.Optional(Type.Unsafe<AIFinishReason>(Type.Union(aiFinishReasons.map((reason) => Type.Literal(reason))))),
  /** The provider's own word for it. */
  rawFinishReason: Type.Optional(Type.String()),
  usage: Type.Optional(AIUsage)
}, open)

/**
 * `type` is for programs (`rate_limit_error`), `message` for people. `retryable`: whether the same task can succeed later
 * without a change. It is absent where that is not known, as for a type of the app's own.
 */
export const AIErrorInfo = Type.Object({ message: Type.String(), type: Type.String(), retryable: Type.Optional(Type.Boolean()) }, open)

/**
 * Marks a message from the past. `snapshot`: it is part of the present state. `missed`: the reader's `since` was continued, and
 * this comes after it. Live messages have no such field.
 */
const replayed = Type.Optional(Type.Union([Type.Literal('snapshot'), Type.Literal('missed')]))
const seq = Type.Optional(position.seq)
const jobId = Type.Optional(Id)
/** The real end of a job that was presumed to have ended. */
const supersedes = Type.Optional(Type.Boolean())
/** What was sent at first was too large to be kept: only some of its fields are here. */
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

/** Several messages of one session that were collected and sent together. */
export const BatchUpdate = Type.Object({
  type: Type.Literal('batch_update'), sessionId: Id, messages: Type.Array(Type.Unknown()), timestamp: Timestamp
}, open)

export const ServerMessage = Type.Union([
  ConnectionEstablished, Pong, Subscribed, Unsubscribed, Cancelling, LargeMessage, ProtocolError,
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
/** The messages that the protocol defines. An app's own broadcasts come beside them, with types of its own. */
export type ServerMessage = Static<typeof ServerMessage>

/**
 * The types that only the server may speak. An app's broadcast can't use one: `broadcastToSession` of an `ai_complete`
 * would end a spinner without the job's rules, and of a `connection` would confuse every client.
 */
export const reservedTypes: ReadonlySet<string> = new Set([
  'connection', 'pong', 'subscribed', 'unsubscribed', 'cancelling', 'large_message', 'error', 'ai_start', 'ai_progress', 'ai_complete', 'ai_error'
])
