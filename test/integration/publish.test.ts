import swagger from '@fastify/swagger'
import t, { type Test } from 'tap'
import type { AiCanvasWsOptions, Broker } from 'ai-canvas-ws'
import { originOf, startApp, withoutPings } from '../support/app.js'
import { BusStore } from '../support/bus-store.js'
import { HandBroker } from '../support/hand-broker.js'
import { ended, follow, jobOf } from '../support/sessions.js'
import { until } from '../support/until.js'
import { connect, type Message, type TestClient } from '../support/ws-client.js'
import { systemClock } from '../../lib/util/clock.js'

interface Answer { status: number, body: Record<string, unknown>, retryAfter: string | null }

const SECRET = 'Bearer secret'
/** A guard as an app may write one. */
const publish = {
  onRequest: async (request: { headers: { authorization?: string | undefined } }): Promise<void> => {
    if (request.headers.authorization !== SECRET) throw Object.assign(new Error('no'), { statusCode: 401 })
    return Promise.resolve()
  }
}

async function send (url: string, body: unknown, headers: Record<string, string> = {}): Promise<Answer> {
  const response = await fetch(url, {
    method: 'POST', headers: { 'content-type': 'application/json', authorization: SECRET, ...headers }, body: typeof body === 'string' ? body : JSON.stringify(body)
  })
  return { status: response.status, body: await response.json() as Record<string, unknown>, retryAfter: response.headers.get('retry-after') }
}

/** An app with the publish route, and a function that calls it over HTTP. */
async function start (t: Test, options: AiCanvasWsOptions = {}) {
  const started = await startApp(t, { ...withoutPings, publish, ...options })
  const url = `${originOf(started.app, 'http')}/api/ws/publish`
  return { ...started, publish: (body: unknown, key?: string) => send(url, body, key === undefined ? {} : { 'idempotency-key': key }) }
}

const progress = (delta: string, jobId = 'j'): object => ({ type: 'ai_progress', sessionId: 's', jobId, progress: { delta } })

async function take (client: TestClient, count: number): Promise<Message[]> {
  const messages: Message[] = []
  while (messages.length < count) messages.push(await client.next())
  return messages
}

t.test('reports on a job reach its subscribers, and each has a receipt', async (t) => {
  const { url, publish } = await start(t)
  const client = await connect(t, url('?sessionId=s'))
  const about = { sessionId: 's', jobId: 'j' }
  const started = await publish({ type: 'ai_start', ...about, task: { prompt: 'x', of: 'mine' } })
  t.match(started, { status: 200, retryAfter: null })
  t.strictSame(started.body, { epoch: started.body.epoch, seq: 1, recipients: 1, jobId: 'j' })
  t.match(await publish(progress('Once ')), { status: 200, body: { seq: 1, jobId: 'j' } })
  t.match(await publish(progress('upon')), { status: 200 })
  t.match(await publish({ type: 'ai_complete', ...about, result: { chunks: 2 } }), { status: 200, body: { seq: 2 } })
  t.match(await publish({ type: 'ai_error', ...about, error: { message: 'no', type: 'api_error' } }), { status: 200, body: { seq: 2, recipients: 0, dropped: 'ended' } })
  t.match(await publish({ type: 'ai_start', sessionId: 's', task: {} }), { body: { jobId: String } })
  t.match(await publish({ type: 'ai_error', sessionId: 's', error: { message: 'no', type: 'api_error', retryable: true } }), { body: { seq: 4 } })
  t.match(await take(client, 6), [
    { type: 'ai_start', jobId: 'j', task: { prompt: 'x', of: 'mine' } }, { progress: { delta: 'Once ', offset: 0 } }, { progress: { delta: 'upon', offset: 5 } },
    { type: 'ai_complete', result: { chunks: 2 } }, { type: 'ai_start' }, { type: 'ai_error', error: { message: 'no', type: 'api_error', retryable: true } }
  ])
})

t.test('messages of the app\'s own go to a session, a user or everyone', async (t) => {
  const { url, publish } = await start(t)
  const client = await connect(t, url('?sessionId=s&userId=u'))
  const message = { type: 'note', text: 'hello' }
  t.match(await publish({ sessionId: 's', message }), { status: 200, body: { seq: 1, recipients: 1 } })
  t.match(await publish({ sessionId: 's', message, durable: false }), { status: 200, body: { seq: 1 } })
  t.match(await publish({ sessionId: 's', message: { type: 'batch_update', messages: [] } }), { status: 200, body: { seq: 1 } })
  t.match(await publish({ userId: 'u', message, durable: true }), { status: 200, body: { seq: 1 } })
  t.match(await publish({ message, durable: false }), { status: 200, body: { seq: 0, recipients: 1 } })
  const messages = await take(client, 5)
  t.match(messages, [{ ...message, sessionId: 's', seq: 1 }, { ...message, sessionId: 's' }, { type: 'batch_update' }, { ...message, userSeq: 1 }, message])
  t.same(messages.map(({ seq, userSeq }): unknown[] => [seq, userSeq]), [[1, undefined], [undefined, undefined], [undefined, undefined], [undefined, 1], [undefined, undefined]])
})

t.test('an invalid request is refused with the name of the field, and nothing is sent', async (t) => {
  const { app, publish } = await start(t)
  const message = { type: 'note' }
  const wrong: Array<[body: unknown, message: RegExp, code?: string]> = [
    [[], /^body must be an object$/],
    ['null', /^body must be an object$/],
    ['"x"', /^body must be an object$/],
    [{ type: 'note', sessionId: 's' }, /^body\/type must be one of ai_start, ai_progress, ai_complete, ai_error: put a message of your own into "message"$/],
    [{ type: 5 }, /^body\/type must be one of/],
    [{ type: 'toString', sessionId: 's' }, /^body\/type must be one of/],
    [{ type: 'ai_start', task: {} }, /^body\/sessionId is invalid: Expected required property$/],
    [{ type: 'ai_start', sessionId: '', task: {} }, /^body\/sessionId is invalid/],
    [{ type: 'ai_start', sessionId: 5, task: {} }, /^body\/sessionId is invalid: Expected string$/],
    [{ type: 'ai_start', sessionId: 's' }, /^body\/task is invalid/],
    [{ type: 'ai_start', sessionId: 's', task: { prompt: 5 } }, /^body\/task\/prompt is invalid: Expected string$/],
    [{ type: 'ai_start', sessionId: 's', jobID: 'j', task: {} }, /^body\/jobID is invalid: Unexpected property$/],
    [{ type: 'ai_progress', sessionId: 's', jobId: 'x'.repeat(257), progress: {} }, /^body\/jobId is invalid/],
    [{ type: 'ai_progress', sessionId: 's', progress: { delta: 5 } }, /^body\/progress\/delta is invalid/],
    [{ type: 'ai_complete', sessionId: 's', result: null }, /^body\/result is invalid/],
    [{ type: 'ai_error', sessionId: 's', error: { message: 'no' } }, /^body\/error\/type is invalid/],
    [{}, /^body\/message is invalid/],
    [{ message: {} }, /^body\/message\/type is invalid/],
    [{ sessionId: 's', message, durable: 'no' }, /^body\/durable is invalid: Expected boolean$/],
    [{ sessionId: 's', message, to: 'all' }, /^body\/to is invalid: Unexpected property$/],
    [{ sessionId: 's', userId: 'u', message }, /^body\/userId must not be given with a sessionId/],
    [{ message, durable: true }, /^body\/durable must not be true without/],
    [{ sessionId: 's', message: { type: 'ai_complete' } }, /the type "ai_complete" is reserved/, 'AICW_ERR_INVALID_MESSAGE'],
    [{ userId: 'u', message: { type: 'note', seq: 1 } }, /the field "seq" is reserved/, 'AICW_ERR_INVALID_MESSAGE'],
    [{ sessionId: 's', message: { type: 'note', sessionId: 't' } }, /differs from the session/, 'AICW_ERR_INVALID_MESSAGE']
  ]
  for (const [body, message, code = 'FST_ERR_VALIDATION'] of wrong) {
    t.match(await publish(body), { status: 400, body: { statusCode: 400, code, error: 'Bad Request', message } }, JSON.stringify(body))
  }
  for (const key of ['a b', '', 'x'.repeat(257), 'ä']) {
    t.match(await publish({ message }, key), { status: 400, body: { message: /^the header Idempotency-Key must consist of 1 to 256 visible ASCII characters$/ } }, key)
  }
  t.match(await publish('{'), { status: 400 })
  t.equal(app.wsManager.getMetrics().messagesSent, 0)
  t.match(await publish({ message }, 'x'.repeat(256)), { status: 200 })
})

t.test('the route is off by default, needs a guard, and can be moved and limited', async (t) => {
  const off = await startApp(t)
  t.match(await send(`${originOf(off.app, 'http')}/api/ws/publish`, { message: { type: 'note' } }), { status: 404 })
  await t.rejects(startApp(t, { publish: {} }), { code: 'AICW_ERR_INVALID_OPTION', message: /^option "publish" needs a hook that guards the route/ })

  const moved = await startApp(t, { prefix: '/v1', publish: { ...publish, path: '/reports', bodyLimit: 100 } })
  const url = `${originOf(moved.app, 'http')}/v1/reports`
  t.match(await send(url, { message: { type: 'note' } }), { status: 200 })
  t.match(await send(url, { message: { type: 'note' } }, { authorization: 'guess' }), { status: 401, body: { message: 'no' } })
  t.match(await send(url, { message: { type: 'note', text: 'x'.repeat(100) } }), { status: 413 })
})

t.test('a repeated request with the same key has the first receipt, and is published once', async (t) => {
  const { url, publish } = await start(t)
  const client = await connect(t, url('?sessionId=s&userId=u'))
  const requests = [
    { type: 'ai_start', sessionId: 's', jobId: 'j', task: {} }, { type: 'ai_start', sessionId: 's', task: {} }, progress('text'), progress('text'),
    { type: 'ai_complete', sessionId: 's', jobId: 'j', result: {} }, { type: 'ai_error', sessionId: 's', error: { message: 'no', type: 'api_error' } },
    { sessionId: 's', message: { type: 'note' } }, { userId: 'u', message: { type: 'note' } }, { message: { type: 'note' } }
  ]
  const firsts: Answer[] = []
  for (const [at, request] of requests.entries()) firsts.push(await publish(request, `"key-${at}"`))
  t.match(firsts.map(({ status, body }) => [status, body.dropped]), requests.map(() => [200, undefined]))
  for (const [at, request] of requests.entries()) t.strictSame(await publish(request, `"key-${at}"`), firsts[at])
  t.match(await publish({ message: { type: 'last' } }), { status: 200 })
  const types = (await take(client, requests.length + 1)).map(({ type }) => type)
  t.same(types, ['ai_start', 'ai_start', 'ai_progress', 'ai_progress', 'ai_complete', 'ai_error', 'note', 'note', 'note', 'last'])

  t.match(await publish(progress('other'), '"key-2"'), { status: 422, body: { statusCode: 422, code: 'AICW_ERR_KEY_REUSED', message: /^another request has used this Idempotency-Key/ } })
  t.match(await publish({ type: 'ai_progress', sessionId: 's2', progress: {} }, '"key-2"'), { status: 200 }, 'the key of another session is another one')
})

t.test('a request is not confirmed while the broker fails, and can be repeated with its key', async (t) => {
  class Failing extends HandBroker {
    readonly canLoseHistory = true
  }
  const broker = new Failing(systemClock)
  const { app, publish } = await start(t, { broker })
  const answer = async (): Promise<void> => {
    await until(() => broker.waiting.length > 0)
    broker.answer()
  }
  const unavailable = { status: 503, retryAfter: '1', body: { statusCode: 503, code: 'AICW_ERR_UNAVAILABLE', error: 'Service Unavailable', message: /repeat the request with the same Idempotency-Key$/ } }
  for (const request of [progress('a'), { type: 'ai_start', sessionId: 's', jobId: 'j', task: {} }, { sessionId: 's', message: { type: 'note' } }]) {
    const failed = publish(request, JSON.stringify(request))
    await until(() => broker.waiting.length > 0)
    // It was published, and the node does not know.
    broker.calls[0]!.work()
    broker.fail('publish session:s')
    t.match(await failed, unavailable)
    const repeated = publish(request, JSON.stringify(request))
    await answer()
    t.match(await repeated, { status: 200, body: { recipients: 0 } })
  }
  // In flight, the second one waits.
  const both = [publish(progress('b'), 'both'), publish(progress('b'), 'both')]
  await until(() => broker.waiting.length === 2)
  broker.answer()
  const [first, second] = await Promise.all(both)
  t.match(first, { status: 200 })
  t.strictSame(first, second)

  const closing = app.close()
  t.match(await app.inject({ method: 'POST', url: '/api/ws/publish', headers: { authorization: SECRET }, payload: progress('c') }), { statusCode: 503 })
  await answer()
  await closing
})

/** Two nodes behind a load balancer, each in turn. */
async function startNodes (t: Test, seed = 1) {
  const store = new BusStore({ seed })
  t.teardown(() => { store.close() })
  const node = (broker: Broker) => start(t, { broker, closeTimeoutMs: 5_000 })
  const nodes = [await node(store.createBroker()), await node(store.createBroker())] as const
  let turn = 0
  return { store, nodes, publish: (body: unknown, key?: string) => nodes[turn++ % 2]!.publish(body, key) }
}

t.test('reports of one job may go to any node, and be repeated on another', async (t) => {
  for (const seed of [1, 2, 3]) {
    const { nodes: [a, b], publish } = await startNodes(t, seed)
    const followers = [await follow(t, a), await follow(t, b)]
    await publish({ type: 'ai_start', sessionId: 's', jobId: 'j', task: {} }, 'start')
    await publish({ type: 'ai_start', sessionId: 's', jobId: 'j', task: {} }, 'start')
    const pieces = Array.from({ length: 20 }, (_, at) => `${at}💡 `)
    for (const [at, piece] of pieces.entries()) {
      const answers = await Promise.all([publish(progress(piece), `p${at}`), publish(progress(piece), `p${at}`)])
      t.match(answers, [{ status: 200 }, { status: 200 }])
      // So that the nodes take turns.
      if (at % 3 === 0) await publish({ message: { type: 'turn' } })
    }
    // One that was long under way.
    t.match(await publish(progress(pieces[3]!), 'p3'), { status: 200 })
    const ends = await Promise.all([1, 2].map(() => publish({ type: 'ai_complete', sessionId: 's', jobId: 'j', result: { chunks: 20 } }, 'end')))
    t.match(ends, [{ status: 200, body: { seq: 2, dropped: undefined } }, { status: 200, body: { seq: 2, dropped: undefined } }])
    for (const follower of followers) t.match(await ended(follower), { status: 'complete', text: pieces.join('') })
  }
})

t.test('a node that closes does not end the job of a worker, and one that was emptied gets it back', async (t) => {
  const { store, nodes: [a, b] } = await startNodes(t)
  const follower = await follow(t, b)
  await a.publish({ type: 'ai_start', sessionId: 's', jobId: 'j', task: {} })
  await a.publish(progress('one '))
  await a.publish(progress('two '), 'two')
  await a.publish(progress('three '), 'three')
  store.lose()
  await until(() => jobOf(follower)?.text === 'one two three ')
  t.match(await a.publish(progress('four '), 'four'), { status: 200 })
  await a.app.close()
  t.match(await b.publish(progress('five')), { status: 200, body: { dropped: undefined } })
  t.match(await b.publish({ type: 'ai_complete', sessionId: 's', jobId: 'j', result: {} }), { status: 200, body: { dropped: undefined } })
  t.match(await ended(follower), { status: 'complete', text: 'one two three four five', error: undefined })
})

t.test('the OpenAPI document describes the publish route', async (t) => {
  const { app } = await startApp(t, { publish, stats: false }, {}, (app) => app.register(swagger, { openapi: { info: { title: 'x', version: '1' } } }))
  const { paths } = app.swagger() as { paths: Record<string, object> }
  t.same(Object.keys(paths), ['/api/ws/publish'])
  t.match(paths['/api/ws/publish'], {
    post: {
      requestBody: { content: { 'application/json': { schema: { anyOf: [{ required: ['type', 'sessionId', 'task'], additionalProperties: false }, {}, {}, {}, { required: ['message'] }] } } } },
      parameters: [{ in: 'header', name: 'idempotency-key', required: false }],
      responses: {
        200: { content: { 'application/json': { schema: { required: ['epoch', 'seq', 'recipients'] } } } },
        400: {}, 422: {}, 503: {}
      }
    }
  })
})
