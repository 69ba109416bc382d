import { once } from 'node:events'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import OpenAI from 'openai'
import t, { type Test } from 'tap'
import { describeError, describeThrown } from '../../../lib/jobs/ai-error.js'
import { levelsOf } from '../../../lib/jobs/error-levels.js'
import { oddErrors } from '../../support/odd-errors.js'

const failed = (message: string, fields: object = {}): Error => Object.assign(new Error(message), fields)
/** An aborted signal of `AbortSignal.timeout()`. Its timer does not keep the process alive. */
async function timedOut (): Promise<AbortSignal> {
  const signal = AbortSignal.timeout(1)
  const alive = setInterval(() => undefined, 1_000)
  await once(signal, 'abort')
  clearInterval(alive)
  return signal
}

const typeOf = (error: unknown): string => describeThrown(error).type

// The AI SDK is not a dependency. These have the shape of its errors (`@ai-sdk/provider`, `ai/src/util/retry-error.ts`).
const apiCallError = (message: string, fields: object): Error =>
  failed(message, { name: 'AI_APICallError', url: 'https://secret.example', isRetryable: true, ...fields })
const retryError = (errors: unknown[]): Error =>
  failed(`Failed after ${errors.length} attempts. Last error: …`, { name: 'AI_RetryError', reason: 'maxRetriesExceeded', errors, lastError: errors.at(-1) })

t.test('an error is found behind the wrappers of SDKs', async (t) => {
  const limited = apiCallError('You exceeded your current quota', { statusCode: 429 })
  const down = apiCallError('Bad gateway', { statusCode: 502 })
  const rows: Array<[what: string, error: unknown, told: object]> = [
    ['the AI SDK\'s retries', retryError([down, limited]), { message: 'You exceeded your current quota', type: 'rate_limit_error' }],
    ['errors without lastError', failed('All failed', { errors: [limited, down] }), { message: 'Bad gateway', type: 'api_error' }],
    ['lastError without errors', failed('All failed', { lastError: down }), { message: 'Bad gateway', type: 'api_error' }],
    ['an AggregateError', new AggregateError([limited, down], 'All promises were rejected'), { message: 'Bad gateway', type: 'api_error' }],
    ['retries inside retries', retryError([retryError([limited])]), { message: 'You exceeded your current quota', type: 'rate_limit_error' }],
    ['a cause, whose wrapper chose the words', new Error('No output generated.', { cause: limited }), { message: 'No output generated.', type: 'rate_limit_error' }],
    ['a cause of a cause', new Error('a', { cause: new Error('b', { cause: down }) }), { message: 'a', type: 'api_error' }],
    ['a cause that is no Error', new Error('a', { cause: { status: 401 } }), { message: 'a', type: 'authentication_error' }],
    ['a wrapper whose code says less', failed('a', { code: 'ERR_STORY', cause: limited }), { type: 'rate_limit_error' }],
    ['a wrapper whose type is in the table', failed('a', { type: 'not_found_error', cause: limited }), { type: 'not_found_error' }],
    ['a wrapper with its own status', failed('a', { status: 404, cause: limited }), { type: 'not_found_error' }],
    ['a wrapper around nothing', failed('a', { code: 'ERR_STORY', cause: 'b', errors: [], lastError: null }), { message: 'a', type: 'ERR_STORY' }],
    ['a word behind a wrapper', new Error('a', { cause: { code: 'content_blocked' } }), { type: 'content_blocked' }]
  ]
  for (const [what, error, told] of rows) t.match(describeThrown(error), told, what)
})

t.test('the search is bounded, and handles cycles and unreadable values', async (t) => {
  const cyclic = failed('m')
  Object.assign(cyclic, { cause: cyclic, lastError: { cause: cyclic }, errors: [cyclic] })
  t.strictSame(describeThrown(cyclic), { message: 'm', type: 'internal_error', retryable: true })
  let deep: Error = failed('the last', { status: 429 })
  for (let i = 0; i < 100; i++) deep = new Error('wrapped', { cause: deep })
  t.match(describeThrown(deep), { message: 'wrapped', type: 'internal_error' })
  t.ok(levelsOf(deep).length < 100)
  let wide: Error = failed('the last')
  for (let i = 0; i < 100; i++) wide = retryError([wide])
  t.type(describeThrown(wide).message, 'string')
  for (const [what, make] of Object.entries(oddErrors)) {
    for (const error of [make(), failed('outer', { cause: make() }), failed('outer', { lastError: make(), errors: [make()] }), failed('outer', { errors: make(), error: make() })]) {
      t.match(describeThrown(error), { message: String, type: String }, what)
    }
  }
})

t.test('a refused, reset or closed connection is a connection_error', async (t) => {
  const codes = [
    'ECONNREFUSED', 'ECONNRESET', 'ECONNABORTED', 'EPIPE', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'ENETUNREACH', 'UND_ERR_SOCKET', 'ERR_NETWORK',
    'ERR_STREAM_PREMATURE_CLOSE'
  ]
  for (const code of codes) {
    t.strictSame(describeThrown(failed('m', { code })), { message: 'm', type: 'connection_error', retryable: true }, code)
    t.equal(typeOf(new TypeError('fetch failed', { cause: failed('m', { code }) })), 'connection_error')
  }
  for (const message of ['fetch failed', 'terminated', 'Failed to fetch']) t.equal(typeOf(new TypeError(message)), 'connection_error')
  t.equal(typeOf(new Error('terminated')), 'internal_error', 'only for an error of fetch')
  t.equal(typeOf(apiCallError('Cannot connect to API: m', { cause: new TypeError('fetch failed', { cause: failed('m', { code: 'ECONNREFUSED' }) }) })), 'connection_error')
  t.equal(typeOf(failed('m', { code: 'ENOENT' })), 'ENOENT', 'other codes are kept')
})

t.test('a timeout is recognized at any level, and is never a cancel', async (t) => {
  const reason = await timedOut()
  const timeouts: unknown[] = [
    reason.reason,
    new DOMException('m', 'TimeoutError'),
    new Error('m', { cause: reason.reason }),
    Object.assign(new DOMException('m', 'AbortError'), { cause: reason.reason as unknown }),
    new TypeError('fetch failed', { cause: failed('m', { code: 'UND_ERR_CONNECT_TIMEOUT', name: 'ConnectTimeoutError' }) }),
    new TypeError('terminated', { cause: failed('m', { code: 'UND_ERR_BODY_TIMEOUT' }) }),
    new OpenAI.APIConnectionError({ cause: failed('m', { code: 'UND_ERR_HEADERS_TIMEOUT' }) }),
    new OpenAI.APIConnectionTimeoutError(),
    failed('m', { code: 'ETIMEDOUT' }),
    failed('timeout of 1000ms exceeded', { name: 'AxiosError', code: 'ECONNABORTED' }),
    failed('m', { name: 'RequestTimeoutError' }),
    failed('m', { statusCode: 504 })
  ]
  for (const error of timeouts) t.match(describeThrown(error), { type: 'timeout_error', retryable: true })
  const aborts: unknown[] = [
    AbortSignal.abort().reason, new OpenAI.APIUserAbortError(), failed('m', { code: 'ABORT_ERR' }), failed('canceled', { name: 'CanceledError', code: 'ERR_CANCELED' }),
    new Error('m', { cause: AbortSignal.abort().reason }), Object.assign(new DOMException('m', 'AbortError'), { cause: failed('m', { code: 'ECONNRESET' }) })
  ]
  for (const error of aborts) t.equal(typeOf(error), 'cancelled')
})

t.test('the class of an SDK\'s error determines the type, unless a nested error is more precise', async (t) => {
  const rows: Array<[name: string, type: string]> = [
    ['ModelRefusalError', 'content_filter'], ['InputGuardrailTripwireTriggered', 'content_filter'], ['ToolOutputGuardrailTripwireTriggered', 'content_filter'],
    ['ModelBehaviorError', 'incomplete'], ['MaxTurnsExceededError', 'incomplete'], ['GraphRecursionError', 'incomplete'], ['ModelAbortError', 'cancelled']
  ]
  for (const [name, type] of rows) t.equal(typeOf(failed('m', { name })), type, name)
  t.equal(typeOf(failed('m', { name: 'ModelBehaviorError', status: 429 })), 'rate_limit_error')
})

t.test('the message is the provider\'s sentence', async (t) => {
  const body = { type: 'error', error: { type: 'rate_limit_error', message: 'This request would exceed your rate limit.' } }
  const google = JSON.stringify({ error: { code: 429, message: 'Resource has been exhausted.', status: 'RESOURCE_EXHAUSTED' } })
  const rows: Array<[what: string, error: Error, message: string, type: string]> = [
    ['Anthropic', failed(`429 ${JSON.stringify(body)}`, { status: 429, error: body }), 'This request would exceed your rate limit.', 'rate_limit_error'],
    ['Google', failed(google, { name: 'ApiError', status: 429 }), 'Resource has been exhausted.', 'rate_limit_error'],
    ['Google, in JSON in JSON', failed(JSON.stringify({ error: { message: `${google}\n`, code: 429 } }), { name: 'ApiError', status: 429 }), 'Resource has been exhausted.', 'rate_limit_error'],
    ['Google, older', failed('[GoogleGenerativeAI Error]: [429 Too Many Requests] Slow down. [{"@type":"x"}]', { status: 429 }), '[GoogleGenerativeAI Error]: [429 Too Many Requests] Slow down.', 'rate_limit_error'],
    ['Mistral', failed('API error occurred: Status 401. Body: {"message":"Unauthorized","request_id":"r"}', { name: 'SDKError', statusCode: 401 }), 'Unauthorized', 'authentication_error'],
    ['Mistral, a long body', failed(`API error occurred: Status 422\nBody: ${JSON.stringify({ detail: [{ loc: ['body'], msg: 'Field required' }] })}`, { statusCode: 422 }), 'Field required', 'invalid_request_error'],
    ['Cohere', failed(`TooManyRequestsError\nStatus code: 429\nBody: ${JSON.stringify({ message: 'You are using a Trial key.' }, undefined, 2)}`, { statusCode: 429 }), 'You are using a Trial key.', 'rate_limit_error'],
    ['Cohere, with a body that says nothing', failed('NotFoundError\nStatus code: 404\nBody: {\n  "id": 7\n}', { statusCode: 404 }), 'NotFoundError', 'not_found_error'],
    ['an AI SDK provider\'s answer', apiCallError('{"message":"No such model"}', { statusCode: 404 }), 'No such model', 'not_found_error'],
    ['JSON without a sentence', failed('500 {"id":7}', { status: 500 }), 'the model\'s provider answered with HTTP status 500', 'api_error'],
    ['JSON in front of which is one', failed('No answer: {"id":7}'), 'No answer', 'internal_error'],
    ['zod\'s list', failed(JSON.stringify([{ code: 'invalid_type', path: ['a'], message: 'Required' }], undefined, 2), { name: 'ZodError' }), 'Required', 'internal_error'],
    ['JSON that is none', failed('Unexpected token } in {"a"}'), 'Unexpected token } in {"a"}', 'internal_error'],
    ['many braces', failed('{'.repeat(50) + ' a }'), '{'.repeat(50) + ' a }', 'internal_error'],
    ['several lines', failed('\n  The first.  \nThe second.'), 'The first.', 'internal_error'],
    ['another number in front', failed('404 pages are missing', { status: 500 }), '404 pages are missing', 'api_error'],
    ['HTML', failed('<!doctype html><html><body>oh no</body></html>', { status: 503 }), 'the model\'s provider answered with HTTP status 503', 'overloaded_error'],
    ['fetch, whose words are for nobody', new TypeError('terminated', { cause: failed('other side closed', { code: 'UND_ERR_SOCKET' }) }), 'the connection to the model\'s provider failed', 'connection_error'],
    ['a name in the place of a message', failed('{"id":7}', { name: 'ModelError' }), 'ModelError', 'internal_error'],
    ['nothing', failed('---', { name: '' }), 'unknown error', 'internal_error']
  ]
  for (const [what, error, message, type] of rows) t.match(describeError(error), { message, type }, what)
  t.match(describeError(failed(`${'x'.repeat(70_000)} {"message":"inner"}`)).message, /^x+ \{"message":"inner"\}$/, 'a very long text is not searched for JSON')
  let nested = 'the innermost'
  for (let i = 0; i < 10; i++) nested = JSON.stringify({ message: nested })
  t.type(describeError(failed(nested)).message, 'string')
})

t.test('the sentence is also found in thrown values that are not Errors', async (t) => {
  t.strictSame(describeThrown({ error: { message: 'Overloaded', type: 'overloaded_error' }, headers: 'secret' }), { message: 'Overloaded', type: 'overloaded_error', retryable: true })
  t.strictSame(describeThrown('500 words are too many'), { message: '500 words are too many', type: 'internal_error', retryable: true })
  t.strictSame(describeThrown(''), { message: 'unknown error', type: 'internal_error', retryable: true })
  t.strictSame(describeThrown({ code: 'server_error' }), { message: 'unknown error', type: 'api_error', retryable: true })
})

/** The error of the real OpenAI SDK for the response of a real server. */
async function thrownBy (t: Test, answer: RequestListener, options: object = {}): Promise<unknown> {
  const server = createServer(answer)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  const openai = new OpenAI({ apiKey: 'none', baseURL: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`, maxRetries: 0, ...options })
  try {
    for await (const chunk of await openai.chat.completions.create({ model: 'm', messages: [], stream: true })) t.ok(chunk)
  } catch (error) {
    return error
  }
  throw new Error('nothing was thrown')
}

t.test('errors of the real SDK against a real server', async (t) => {
  const json = (status: number, body: object): RequestListener => (_request, response) => {
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
  }
  t.strictSame(describeError(await thrownBy(t, json(401, { error: { message: 'Incorrect API key provided', type: 'invalid_request_error', code: 'invalid_api_key' } }))),
    { message: 'Incorrect API key provided', type: 'authentication_error', retryable: false })
  t.strictSame(describeError(await thrownBy(t, json(529, { type: 'error', error: { type: 'overloaded_error', message: 'Overloaded' } }))),
    { message: 'Overloaded', type: 'overloaded_error', retryable: true })
  t.match(describeError(await thrownBy(t, (request) => { request.socket.destroy() })), { type: 'connection_error' }, 'closed before the response')
  t.match(describeError(await thrownBy(t, (_request, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.write('data: {"choices":[]}\n\n', () => { response.destroy() })
  })), { type: 'connection_error' }, 'closed during the response')
  t.match(describeError(await thrownBy(t, () => undefined, { timeout: 50 })), { type: 'timeout_error' }, 'no answer')
  t.match(describeError(await thrownBy(t, () => undefined, { baseURL: 'http://127.0.0.1:9/v1' })), { type: 'connection_error' }, 'no server')
  const fetched = fetch('http://127.0.0.1:9/', { signal: AbortSignal.timeout(5_000) })
  t.match(describeError(await fetched.catch((error: unknown) => error)), { type: 'connection_error' })
  t.match(describeError(await fetch('http://127.0.0.1:9/', { signal: await timedOut() }).catch((error: unknown) => error)), { type: 'timeout_error' })
})

t.test('an SDK\'s error for a response that ended too early is incomplete', async (t) => {
  const messages = [
    'Did not receive done or success response in stream.', 'Incomplete JSON segment at the end', 'request ended without sending any chunks',
    'missing finish_reason for choice 0'
  ]
  for (const message of messages) {
    t.strictSame(describeThrown(new Error(message)), { message: 'the stream ended before the model was done', type: 'incomplete', retryable: true })
    t.equal(typeOf(failed(message, { status: 500 })), 'api_error', 'a status has precedence')
  }
  t.equal(typeOf(new Error('the app is missing finish_reason for choice 0')), 'internal_error')
})

t.test('the sentence of a long message is found in linear time', async (t) => {
  // A provider may quote the prompt in its error, so users control its content.
  const message = `Strange prompt${' :'.repeat(30_000)}x {"a":1}`
  t.match(describeThrown(failed(message)), { message: message.slice(0, -' {"a":1}'.length) })
  t.match(describeThrown(failed('Strange prompt : Body: {"a":1}')), { message: 'Strange prompt' })
  t.match(describeThrown(failed(' : {"a":1}')), { message: 'Error' })
})
