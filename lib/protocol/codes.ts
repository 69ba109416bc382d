/**
 * What a client does after a close.
 *
 * - `never`: stay closed; coming back would end the same way.
 * - `soon`: come back at once, with a little jitter so that a whole server's clients do not return together.
 * - `backoff`: come back with the client's ordinary growing delay.
 * - `later`: the server has no room now; begin at the longest delay.
 * - `fresh-token`: ask for a new token and come back once; closed the same way again, stay closed.
 */
export type Reconnect = 'never' | 'soon' | 'backoff' | 'later' | 'fresh-token'

export interface CloseCode {
  readonly code: number
  /** The reason text of the close frame, as the server sends it. Empty where no frame carries it. */
  readonly reason: string
  readonly reconnect: Reconnect
}

/**
 * Every close code that a client can meet: those of RFC 6455 (section 7.4.1) and of its registry, and ours.
 * Ours follow one rule, so that a client needs no update for a new one: 4000–4499 come back, 4500–4999 never do.
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

/** What a client does after a close with this code, codes that the table does not know included. */
export function reconnectRule (code: number): Reconnect {
  const known = byCode.get(code)
  if (known !== undefined) return known.reconnect
  return code >= 4500 && code <= 4999 ? 'never' : 'backoff'
}

/**
 * The `code` of an `error` message, and whether the same request can succeed later without a change (`retry`).
 * The connection stays open after each but `rate_limited`, which a close with 4001 follows.
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
 * The `type` of an `ai_error`, and whether the same task can succeed later without a change (`retryable`). An app may send
 * types of its own. An error gets the type if its provider responded with one of the HTTP `statuses`, or named one of the
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

/** Why a model stopped writing. */
export const aiFinishReasons = [
  /** It was done, or wrote a stop sequence. */
  'stop',
  /** It reached a limit of tokens. */
  'length',
  /** The provider's filter stopped it. */
  'content_filter',
  /** It refused the task. The text says so. */
  'refusal',
  /** It asks for the results of tools. */
  'tool_calls',
  /** The provider paused a long turn, which a further request continues. */
  'pause',
  /** The stream did not say, or gave a reason that is not known here. */
  'unknown'
] as const

export type AIFinishReason = typeof aiFinishReasons[number]
