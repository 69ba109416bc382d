import { APIConnectionError, APIConnectionTimeoutError, APIError, APIUserAbortError } from 'openai'
import t from 'tap'
import { describeError } from '../../../lib/jobs/ai-error.js'
import { aiErrorTypes } from '../../../lib/protocol/codes.js'

const headers = new Headers({ 'x-request-id': 'req_1', 'authorization': 'secret' })

// Anthropic's SDK is not a dependency. These have the shape of its errors (`src/core/error.ts` there).
class AnthropicAPIError extends Error {
  readonly status: number | undefined
  readonly headers = headers
  readonly error: unknown
  readonly type: string | null

  constructor (status: number | undefined, error: unknown, message: string, type?: string) {
    super(message)
    this.status = status
    this.error = error
    this.type = type ?? null
  }
}

t.test('a description is kept, with further fields', async (t) => {
  t.strictSame(describeError({ message: 'API rate limit exceeded', type: 'rate_limit_error', retryAfter: 5 }),
    { message: 'API rate limit exceeded', type: 'rate_limit_error', retryable: true, retryAfter: 5 })
  t.equal(JSON.stringify(describeError({ type: 't', more: 1, message: 'm' })), '{"type":"t","more":1,"message":"m"}', 'in the app\'s order')
})

t.test('the app\'s retryable counts first, then the table\'s', async (t) => {
  for (const retryable of [true, false]) t.equal(describeError({ message: 'm', type: 'api_error', retryable }).retryable, retryable)
  t.strictSame(describeError({ message: 'm', type: 'api_error', retryable: 'yes' }), { message: 'm', type: 'api_error', retryable: true })
  t.strictSame(describeError({ message: 'm', type: 'mine', retryable: 1 }), { message: 'm', type: 'mine' })
  for (const type of ['mine', 'constructor', '__proto__', '']) t.strictSame(describeError({ message: 'm', type }), { message: 'm', type })
  for (const [type, { retryable }] of Object.entries(aiErrorTypes)) t.strictSame(describeError({ message: 'm', type }), { message: 'm', type, retryable })
})

t.test('missing fields are added', async (t) => {
  t.strictSame(describeError({ message: 'm' }), { message: 'm', type: 'internal_error', retryable: true })
  t.strictSame(describeError({ type: 't' }), { message: 'unknown error', type: 't' })
  t.strictSame(describeError({ message: 5, type: null, code: 7 }), { message: 'unknown error', type: 'internal_error', retryable: true, code: 7 })
})

t.test('any thrown value gets a message and a type', async (t) => {
  t.strictSame(describeError('failed'), { message: 'failed', type: 'internal_error', retryable: true })
  for (const thrown of [undefined, null, 5, true, Symbol('s'), 1n, () => undefined]) {
    t.strictSame(describeError(thrown), { message: 'unknown error', type: 'internal_error', retryable: true })
  }
})

t.test('only the message of an Error is sent, not its stack and fields', async (t) => {
  t.strictSame(describeError(new TypeError('failed', { cause: 'secret' })), { message: 'failed', type: 'internal_error', retryable: true })
  t.strictSame(describeError(Object.assign(new Error(''), { name: '' })), { message: 'unknown error', type: 'internal_error', retryable: true })
  t.strictSame(describeError(new RangeError()), { message: 'RangeError', type: 'internal_error', retryable: true })
  t.strictSame(describeError(Object.assign(new Error('m'), { message: { not: 'text' } })), { message: 'Error', type: 'internal_error', retryable: true })
})

t.test('the status is also read from an error\'s response', async (t) => {
  const failed = (fields: object): Error => Object.assign(new Error('Request failed'), fields)
  const rows: Array<[what: string, error: Error, type: string]> = [
    ['axios', failed({ code: 'ERR_BAD_REQUEST', response: { status: 429, data: {} } }), 'rate_limit_error'],
    ['a fetch wrapper', failed({ response: new Response('', { status: 401 }) }), 'authentication_error'],
    ['got', failed({ code: 'ERR_NON_2XX_3XX_RESPONSE', response: { statusCode: 503 } }), 'overloaded_error'],
    ['any other 5xx', failed({ response: { status: 502 } }), 'api_error'],
    ['its own status first', failed({ status: 404, response: { status: 500 } }), 'not_found_error'],
    ['a status that is none', failed({ status: 0, response: { status: 429 } }), 'rate_limit_error'],
    ['no status at all', failed({ code: 'ECONNRESET', response: undefined }), 'connection_error'],
    ['status_code', failed({ status_code: 422 }), 'invalid_request_error'],
    ['a status as a string', failed({ statusCode: '503' }), 'overloaded_error'],
    ['a numeric code', failed({ code: 429 }), 'rate_limit_error'],
    ['a numeric code as a string', failed({ code: '401' }), 'authentication_error'],
    ['a numeric code of the answer', failed({ error: { code: 402, message: 'no credits' } }), 'billing_error'],
    ['Bedrock', failed({ name: 'ThrottlingException', $metadata: { httpStatusCode: 429 } }), 'rate_limit_error'],
    ['a code that is no status', failed({ code: 11000 }), 'internal_error'],
    ['a fraction', failed({ status: 429.5 }), 'internal_error'],
    ['a response that is none', failed({ response: 'no' }), 'internal_error'],
    ['a status that says nothing', failed({ response: { status: 302 } }), 'internal_error']
  ]
  for (const [what, error, type] of rows) t.match(describeError(error), { message: 'Request failed', type }, what)
})

t.test('errors of OpenAI\'s SDK', async (t) => {
  const generated = (status: number, error: object): object => describeError(APIError.generate(status, { error }, undefined, headers))
  t.strictSame(generated(429, { message: 'You exceeded your quota', type: 'insufficient_quota', code: 'insufficient_quota' }),
    { message: 'You exceeded your quota', type: 'billing_error', retryable: false })
  t.strictSame(generated(429, { message: 'Slow down', type: 'requests', code: 'rate_limit_exceeded' }),
    { message: 'Slow down', type: 'rate_limit_error', retryable: true })
  t.strictSame(describeError(APIError.generate(502, undefined, undefined, headers)),
    { message: 'the model\'s provider answered with HTTP status 502', type: 'api_error', retryable: true }, 'a response without a body')
  t.strictSame(describeError(APIError.generate(502, undefined, '<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n</html>', headers)),
    { message: '502 Bad Gateway', type: 'api_error', retryable: true }, 'a proxy\'s page')
  const statuses: Record<number, string> = {
    400: 'invalid_request_error',
    401: 'authentication_error',
    403: 'permission_error',
    404: 'not_found_error',
    408: 'timeout_error',
    413: 'request_too_large',
    422: 'invalid_request_error',
    429: 'rate_limit_error',
    500: 'api_error',
    502: 'api_error',
    503: 'overloaded_error',
    504: 'timeout_error',
    529: 'overloaded_error'
  }
  for (const [status, type] of Object.entries(statuses)) t.match(generated(Number(status), { message: 'm' }), { type }, status)
  t.match(generated(409, { message: 'm', type: 'conflict' }), { type: 'conflict' }, 'another status: its own type')
  t.match(generated(409, { message: 'm', code: 'conflict_code' }), { type: 'conflict_code' }, 'or its code')
  t.match(generated(409, { message: 'm' }), { type: 'internal_error', retryable: true })

  t.strictSame(describeError(new APIUserAbortError()), { message: 'Request was aborted.', type: 'cancelled', retryable: true })
  t.strictSame(describeError(new APIConnectionTimeoutError()), { message: 'Request timed out.', type: 'timeout_error', retryable: true })
  t.strictSame(describeError(new APIConnectionError({ cause: new Error('ECONNREFUSED') })), { message: 'Connection error.', type: 'connection_error', retryable: true })
  // An error during a stream has no status.
  t.strictSame(describeError(new APIError(undefined, { message: 'The server had an error', type: 'server_error' }, undefined, headers)),
    { message: 'The server had an error', type: 'api_error', retryable: true })
})

t.test('errors of Anthropic\'s SDK', async (t) => {
  const body = (type: string): object => ({ type: 'error', error: { type, message: 'm' } })
  t.match(describeError(new AnthropicAPIError(429, body('rate_limit_error'), '429 …', 'rate_limit_error')), { message: 'the model\'s provider answered with HTTP status 429', type: 'rate_limit_error' })
  t.match(describeError(new AnthropicAPIError(529, body('overloaded_error'), '529 …', 'overloaded_error')), { type: 'overloaded_error' })
  t.match(describeError(new AnthropicAPIError(402, body('billing_error'), '402 …', 'billing_error')), { type: 'billing_error' })
  t.match(describeError(new AnthropicAPIError(402, body('billing_error'), '402 …')), { type: 'billing_error' }, 'an older one, without the field')
  t.match(describeError(new AnthropicAPIError(undefined, body('overloaded_error'), 'm')), { type: 'overloaded_error' }, 'in the middle of a stream')
  for (const odd of [undefined, null, 'text', {}, { error: null }, { error: 'text' }, { error: {} }, { error: { type: 5 } }]) {
    t.match(describeError(new AnthropicAPIError(undefined, odd, 'm')), { type: 'internal_error', retryable: true })
  }
})

t.test('errors of the AI SDK, and of fetch', async (t) => {
  t.strictSame(describeError(Object.assign(new Error('m'), { name: 'AI_APICallError', statusCode: 429, url: 'secret' })), { message: 'm', type: 'rate_limit_error', retryable: true })
  t.strictSame(describeError(Object.assign(new Error('m'), { code: 'ECONNRESET' })), { message: 'm', type: 'connection_error', retryable: true })
  t.strictSame(describeError(Object.assign(new Error('m'), { type: '', code: '' })), { message: 'm', type: 'internal_error', retryable: true })
})

t.test('an abort is cancelled, and a timeout is a failure', async (t) => {
  t.match(describeError(AbortSignal.abort().reason), { type: 'cancelled' })
  t.match(describeError(new DOMException('too late', 'TimeoutError')), { message: 'too late', type: 'timeout_error' })
  t.match(describeError(Object.assign(new Error('m'), { name: 'TimeoutError', status: 429 })), { type: 'rate_limit_error' }, 'the status of a response has precedence')
})
