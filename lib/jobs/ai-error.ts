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
 * providers' SDKs throw it: its HTTP status decides, then its own `type`, then its `code`; an abort is `cancelled`, and
 * what says nothing is an `internal_error`. An `Error`'s other fields, its stack among them, stay on the server.
 */
export function describeError (error: unknown): AIErrorInfo {
  if (error instanceof Error) return { message: error.message === '' ? error.name : error.message, type: typeOf(error) }
  if (typeof error === 'string') return { message: error, type: 'internal_error' }
  if (typeof error !== 'object' || error === null) return { message: 'unknown error', type: 'internal_error' }
  const { message, type } = error as Partial<AIErrorInfo>
  return {
    ...error,
    message: typeof message === 'string' ? message : 'unknown error',
    type: typeof type === 'string' ? type : 'internal_error'
  }
}

function typeOf (error: Error): string {
  if (error.name === 'AbortError' || error.name === 'APIUserAbortError') return 'cancelled'
  const { status, statusCode, type, code } = error as Error & Record<'status' | 'statusCode' | 'type' | 'code', unknown>
  const answered = [status, statusCode].find((value) => typeof value === 'number')
  if (typeof answered === 'number') {
    const known = typeOfStatus.get(answered)
    if (known !== undefined) return known
    if (answered >= 500) return 'api_error'
  }
  if (error.name === 'TimeoutError') return 'timeout_error'
  for (const own of [type, code]) if (typeof own === 'string' && own !== '') return own
  return 'internal_error'
}
