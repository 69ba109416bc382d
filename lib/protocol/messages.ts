import { Type, type Static } from '@sinclair/typebox'
import { errorCodes, type ErrorCode } from './codes.js'
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

export const Subscribe = Type.Object({ type: Type.Literal('subscribe'), sessionId: Id }, open)

/** Without a `sessionId` it leaves every session. */
export const Unsubscribe = Type.Object({ type: Type.Literal('unsubscribe'), sessionId: Type.Optional(Id) }, open)

export const ClientMessage = Type.Union([Ping, Subscribe, Unsubscribe])

// ---- server to client: about the connection

/** The head of a stream: which life of it, and the number of its latest message. */
const position = { epoch: Type.String(), seq: Type.Integer({ minimum: 0 }) }

export const ConnectionEstablished = Type.Object({
  type: Type.Literal('connection'),
  status: Type.Literal('connected'),
  clientId: Type.String(),
  timestamp: Timestamp,
  sessionId: Type.Optional(Id),
  epoch: Type.Optional(position.epoch),
  seq: Type.Optional(position.seq),
  user: Type.Optional(Type.Object(position))
}, open)

export const Pong = Type.Object({ type: Type.Literal('pong'), timestamp: Timestamp }, open)

export const Subscribed = Type.Object({
  type: Type.Literal('subscribed'),
  sessionId: Id,
  timestamp: Timestamp,
  epoch: Type.Optional(position.epoch),
  seq: Type.Optional(position.seq)
}, open)

export const Unsubscribed = Type.Object({
  type: Type.Literal('unsubscribed'),
  timestamp: Timestamp,
  sessionId: Type.Optional(Id),
  reason: Type.Optional(Type.Literal('revoked'))
}, open)

export const ProtocolError = Type.Object({
  type: Type.Literal('error'),
  // A union, because TypeBox does not look at `enum`.
  code: Type.Unsafe<ErrorCode>(Type.Union(Object.keys(errorCodes).map((code) => Type.Literal(code)))),
  message: Type.String(),
  timestamp: Timestamp,
  sessionId: Type.Optional(Type.String())
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
  contentLength: Type.Optional(Type.Number())
}, open)

export const AIResult = Type.Object({
  mode: Type.Optional(Type.String()),
  contentLength: Type.Optional(Type.Number()),
  chunks: Type.Optional(Type.Number()),
  targetFile: Type.Optional(Type.String())
}, open)

/** `type` is for programs (`rate_limit_error`), `message` for people. */
export const AIErrorInfo = Type.Object({ message: Type.String(), type: Type.String() }, open)

const seq = Type.Optional(position.seq)

export const AIStarted = Type.Object({
  type: Type.Literal('ai_start'), sessionId: Id, task: AITask, timestamp: Timestamp, seq
}, open)

export const AIProgressed = Type.Object({
  type: Type.Literal('ai_progress'), sessionId: Id, progress: AIProgress, timestamp: Timestamp
}, open)

export const AICompleted = Type.Object({
  type: Type.Literal('ai_complete'), sessionId: Id, result: AIResult, timestamp: Timestamp, seq
}, open)

export const AIFailed = Type.Object({
  type: Type.Literal('ai_error'), sessionId: Id, error: AIErrorInfo, timestamp: Timestamp, seq
}, open)

/** Several messages of one session that were collected and sent together. */
export const BatchUpdate = Type.Object({
  type: Type.Literal('batch_update'), sessionId: Id, messages: Type.Array(Type.Unknown()), timestamp: Timestamp
}, open)

export const ServerMessage = Type.Union([
  ConnectionEstablished, Pong, Subscribed, Unsubscribed, ProtocolError,
  AIStarted, AIProgressed, AICompleted, AIFailed, BatchUpdate
])

export type Ping = Static<typeof Ping>
export type Subscribe = Static<typeof Subscribe>
export type Unsubscribe = Static<typeof Unsubscribe>
export type ClientMessage = Static<typeof ClientMessage>
export type ConnectionEstablished = Static<typeof ConnectionEstablished>
export type Pong = Static<typeof Pong>
export type Subscribed = Static<typeof Subscribed>
export type Unsubscribed = Static<typeof Unsubscribed>
export type ProtocolError = Static<typeof ProtocolError>
export type AITask = Static<typeof AITask> & Record<string, unknown>
export type AIProgress = Static<typeof AIProgress> & Record<string, unknown>
export type AIResult = Static<typeof AIResult> & Record<string, unknown>
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
  'connection', 'pong', 'subscribed', 'unsubscribed', 'error', 'ai_start', 'ai_progress', 'ai_complete', 'ai_error'
])
