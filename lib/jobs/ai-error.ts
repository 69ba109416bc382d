import type { AIErrorInfo } from '../protocol/messages.js'
import { fieldOf, isError } from '../safe-error.js'

/** The error types that the model providers share, by the HTTP status with which they answer. */
const typeOfStatus: ReadonlyMap<number, string> = new Map([
  [400, 'invalid_request_error'],
  [401, 'authentication_error'],
  [403, 'permission_error'],
  [404, 'not_found_error'],
  [408, 'timeout_error'],
  [413, 'request_too_large'],
  [422, 'invalid_request_error'],
  [429, 'rate_limit_error'],
  [503, 'overloaded_error'],
  [529, 'overloaded_error']
])

/**
 * What is told of a failed job. `{ message, type }` goes through as it is, further fields too. An `Error` is read as the
 * providers' SDKs throw it: its HTTP status decides (its own, or that of its `response`), then its own `type`, or that of
 * the answer that it holds, then its `code`; an abort is `cancelled`, and what says nothing is an `internal_error`. An
 * `Error`'s other fields, its stack among them, stay on the server. A property of an `Error` whose getter throws counts as
 * absent.
 *
 * @throws what a getter of an object that is no `Error` throws.
 */
export function describeError (error: unknown): AIErrorInfo {
  if (isError(error)) return { message: messageOf(error), type: typeOf(error) }
  if (typeof error === 'string') return { message: error, type: 'internal_error' }
  if (typeof error !== 'object' || error === null) return { message: 'unknown error', type: 'internal_error' }
  const { message, type } = error as Partial<AIErrorInfo>
  return {
    ...error,
    message: typeof message === 'string' ? message : 'unknown error',
    type: typeof type === 'string' ? type : 'internal_error'
  }
}

/** The type says that these are texts, and any library may have put something else there. */
function messageOf (error: Error): string {
  const [message, name] = [fieldOf(error, 'message'), fieldOf(error, 'name')]
  return [message, name].find(isGiven) ?? 'unknown error'
}

function typeOf (thrown: Error): string {
  // The SDKs' errors are all named `Error`: only their classes tell them apart.
  const names = [fieldOf(thrown, 'name'), fieldOf(fieldOf(thrown, 'constructor'), 'name')]
  if (names.includes('AbortError') || names.includes('APIUserAbortError')) return 'cancelled'
  const answered = statusOf(thrown)
  if (answered !== undefined) {
    const known = typeOfStatus.get(answered)
    if (known !== undefined) return known
    if (answered >= 500) return 'api_error'
  }
  if (names.includes('TimeoutError') || names.includes('APIConnectionTimeoutError')) return 'timeout_error'
  // Anthropic answers `{ type: 'error', error: { type, message } }`. In the middle of a stream nothing else tells the type.
  const answeredType = fieldOf(fieldOf(fieldOf(thrown, 'error'), 'error'), 'type')
  return [fieldOf(thrown, 'type'), answeredType, fieldOf(thrown, 'code')].find(isGiven) ?? 'internal_error'
}

/** The HTTP status of an error: its own, or that of the response that it holds, as axios, ky, got and fetch wrappers keep it. */
function statusOf (thrown: Error): number | undefined {
  const response = fieldOf(thrown, 'response')
  return [thrown, response]
    .flatMap((holder) => [fieldOf(holder, 'status'), fieldOf(holder, 'statusCode')])
    .find((value): value is number => typeof value === 'number' && value >= 100)
}

function isGiven (value: unknown): value is string {
  return typeof value === 'string' && value !== ''
}
