/**
 * What a client does after a close.
 *
 * - `never`: stay closed, because a new connection would be closed in the same way.
 * - `soon`: reconnect at once, with a little jitter so that the clients of a whole server do not reconnect together.
 * - `backoff`: reconnect with the client's usual exponential backoff.
 * - `later`: the server has no capacity now, so begin at the longest backoff delay.
 * - `fresh-token`: get a new token and reconnect once. After a second close of this kind, stay closed.
 */
export type Reconnect = 'never' | 'soon' | 'backoff' | 'later' | 'fresh-token'

export interface CloseCode {
  readonly code: number
  /** The reason text that the server sends in the close frame. Empty for codes that are never sent in a frame. */
  readonly reason: string
  readonly reconnect: Reconnect
}

/**
 * All close codes that a client can receive: those of RFC 6455 (section 7.4.1), of its registry, and of this protocol. The
 * protocol's own codes follow one rule, so that a client needs no update for a new one: reconnect after 4000–4499, stay closed
 * after 4500–4999.
 */
export const closeCodes = {
  normal: { code: 1000, reason: 'Normal closure', reconnect: 'never' },
  goingAway: { code: 1001, reason: 'Going away', reconnect: 'backoff' },
  protocolError: { code: 1002, reason: 'Protocol error', reconnect: 'backoff' },
  noStatus: { code: 1005, reason: '', reconnect: 'backoff' },
  abnormal: { code: 1006, reason: '', reconnect: 'backoff' },
  invalidText: { code: 1007, reason: 'Invalid UTF-8', reconnect: 'backoff' },
  unauthorized: { code: 1008, reason: 'Unauthorized', reconnect: 'fresh-token' },
  messageTooBig: { code: 1009, reason: 'Message too big', reconnect: 'backoff' },
  serverError: { code: 1011, reason: 'Server error', reconnect: 'backoff' },
  restart: { code: 1012, reason: 'Server restart', reconnect: 'soon' },
  overCapacity: { code: 1013, reason: 'Try again later', reconnect: 'later' },

  slowConsumer: { code: 4000, reason: 'Slow reader', reconnect: 'soon' },
  rateLimited: { code: 4001, reason: 'Rate limit exceeded', reconnect: 'later' },
  tokenExpired: { code: 4002, reason: 'Token expired', reconnect: 'soon' },

  badRequest: { code: 4500, reason: 'Bad request', reconnect: 'never' },
  originNotAllowed: { code: 4501, reason: 'Origin not allowed', reconnect: 'never' },
  revoked: { code: 4502, reason: 'Access revoked', reconnect: 'never' }
} as const satisfies Record<string, CloseCode>

export type CloseName = keyof typeof closeCodes

const byCode = new Map<number, CloseCode>(Object.values(closeCodes).map((entry) => [entry.code, entry]))

/** Returns the name of a close code, or `other` for a code that is not in the table. */
export function closeName (code: number): CloseName | 'other' {
  const names = Object.keys(closeCodes) as CloseName[]
  return names.find((name) => closeCodes[name].code === code) ?? 'other'
}

/** Returns what a client does after a close with this code, even for codes that are not in the table. */
export function reconnectRule (code: number): Reconnect {
  const known = byCode.get(code)
  if (known !== undefined) return known.reconnect
  return code >= 4500 && code <= 4999 ? 'never' : 'backoff'
}

/**
 * The values of `code` in an `error` message, and whether the same request can succeed later without a change (`retry`).
 * The connection stays open, except after `rate_limited`, which is followed by a close with code 4001.
 */
export const errorCodes = {
  invalid_json: { retry: false },
  invalid_message: { retry: false },
  binary_not_supported: { retry: false },
  unknown_type: { retry: false },
  invalid_session_id: { retry: false },
  too_many_sessions: { retry: false },
  forbidden: { retry: false },
  not_cancellable: { retry: false },
  unavailable: { retry: true },
  internal_error: { retry: true },
  rate_limited: { retry: true }
} as const satisfies Record<string, { readonly retry: boolean }>

export type ErrorCode = keyof typeof errorCodes

/**
 * The values of `type` in an `ai_error`, and whether the same task can succeed later without a change (`retryable`). An app
 * may send its own types. An error gets a type if the provider responded with one of its HTTP `statuses`, or with one of its
 * `aliases`.
 */
export const aiErrorTypes = {
  invalid_request_error: { retryable: false, statuses: [400, 422], aliases: ['invalid_prompt'] },
  authentication_error: { retryable: false, statuses: [401] },
  billing_error: { retryable: false, statuses: [402], aliases: ['insufficient_quota'] },
  permission_error: { retryable: false, statuses: [403] },
  not_found_error: { retryable: false, statuses: [404] },
  request_too_large: { retryable: false, statuses: [413] },
  rate_limit_error: { retryable: true, statuses: [429], aliases: ['rate_limit_exceeded'] },
  overloaded_error: { retryable: true, statuses: [503, 529] },
  api_error: { retryable: true, aliases: ['server_error'] },
  timeout_error: { retryable: true, statuses: [408, 504] },
  connection_error: { retryable: true },
  incomplete: { retryable: true },
  content_filter: { retryable: false, aliases: ['content_policy_violation', 'bio_policy', 'misalignment_policy_violation'] },
  cancelled: { retryable: true },
  stalled: { retryable: true },
  interrupted: { retryable: true },
  internal_error: { retryable: true },
  lost: { retryable: true }
} as const satisfies Record<string, { readonly retryable: boolean, readonly statuses?: readonly number[], readonly aliases?: readonly string[] }>

export type AIErrorType = keyof typeof aiErrorTypes

export function isAIErrorType (type: string): type is AIErrorType {
  return Object.hasOwn(aiErrorTypes, type)
}

/** Why a model stopped generating. */
export const aiFinishReasons = [
  /** It was finished, or generated a stop sequence. */
  'stop',
  /** It reached a token limit. */
  'length',
  /** The provider's content filter stopped it. */
  'content_filter',
  /** It refused the task. Its text contains the refusal. */
  'refusal',
  /** It called tools and waits for their results. */
  'tool_calls',
  /** The provider paused a long turn. A further request continues it. */
  'pause',
  /** The stream gave no reason, or one that is not in this list. */
  'unknown'
] as const

export type AIFinishReason = typeof aiFinishReasons[number]
