import type { AIErrorInfo } from '../protocol/messages.js'

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
 * providers' SDKs throw it: its HTTP status decides, then its own `type`, or that of the answer that it holds, then its
 * `code`; an abort is `cancelled`, and what says nothing is an `internal_error`. An `Error`'s other fields, its stack
 * among them, stay on the server.
 */
export function describeError (error: unknown): AIErrorInfo {
  if (error instanceof Error) return { message: messageOf(error), type: typeOf(error) }
  if (typeof error === 'string') return { message: error, type: 'internal_error' }
  if (typeof error !== 'object' || error === null) return { message: 'unknown error', type: 'internal_error' }
  const { message, type } = error as Partial<AIErrorInfo>
  return {
    ...error,
    message: typeof message === 'string' ? message : 'unknown error',
    type: typeof type === 'string' ? type : 'internal_error'
  }
}

/** The type says that it is a text, and any library may have put something else there. */
function messageOf ({ message, name }: { message: unknown, name: string }): string {
  return typeof message === 'string' && message !== '' ? message : name
}

function typeOf (thrown: Error): string {
  // The SDKs' errors are all named `Error`: only their classes tell them apart.
  const names = [thrown.name, thrown.constructor.name]
  if (names.includes('AbortError') || names.includes('APIUserAbortError')) return 'cancelled'
  const { status, statusCode, type, code, error } = thrown as Error & Record<'status' | 'statusCode' | 'type' | 'code' | 'error', unknown>
  const answered = [status, statusCode].find((value) => typeof value === 'number')
  if (typeof answered === 'number') {
    const known = typeOfStatus.get(answered)
    if (known !== undefined) return known
    if (answered >= 500) return 'api_error'
  }
  if (names.includes('TimeoutError') || names.includes('APIConnectionTimeoutError')) return 'timeout_error'
  for (const own of [type, answeredType(error), code]) if (typeof own === 'string' && own !== '') return own
  return 'internal_error'
}

/** Anthropic answers `{ type: 'error', error: { type, message } }`. In the middle of a stream nothing else tells the type. */
function answeredType (answer: unknown): unknown {
  const { error } = (answer ?? {}) as { error?: { type?: unknown } | null }
  return error?.type
}
