import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { WebSocket } from 'ws'
import { buildApp, type AppOptions } from '../../../examples/canvas/app.js'
import { getWebSocketManager } from '../../../examples/canvas/config/websocket.js'
import { connect } from '../../support/ws-client.js'
import { deferred } from '../support/deferred.js'
import { jobMessages } from '../support/job-messages.js'
import { begin, event, openAIServer, refused, streamed, type Answer, type OpenAIServer } from '../support/openai-server.js'

interface Running {
  app: FastifyInstance
  http: string
  ws: (sessionId: string) => string
  generate: (body: unknown, headers?: Record<string, string>) => Promise<Answered>
  result: (sessionId: string) => Promise<Answered>
}

interface Answered {
  status: number
  headers: Headers
  body: Record<string, unknown>
}

const TASK = { sessionId: 's', prompt: 'Create a component', mode: 'generate' }

async function start (t: Test, options: Partial<AppOptions> = {}): Promise<Running> {
  const app = await buildApp({ root: '/nowhere', ...options })
  t.teardown(() => app.close())
  const http = await app.listen({ port: 0, host: '127.0.0.1' })
  return {
    app,
    http,
    ws: (sessionId) => `${http.replace('http', 'ws')}/ws?sessionId=${sessionId}`,
    generate: (body, headers = { 'content-type': 'application/json' }) => call(`${http}/api/agent/generate`, {
      method: 'POST', headers, body: typeof body === 'string' ? body : JSON.stringify(body)
    }),
    result: (sessionId) => call(`${http}/api/agent/result?${new URLSearchParams({ sessionId }).toString()}`)
  }
}

async function call (url: string, init: RequestInit = {}): Promise<Answered> {
  const response = await fetch(url, init)
  return { status: response.status, headers: response.headers, body: await response.json() as Record<string, unknown> }
}

/** Starts an app whose language model sends these answers. */
async function startWithModel (t: Test, answers: Answer[], options: Partial<AppOptions> = {}): Promise<Running & { model: OpenAIServer }> {
  const model = await openAIServer(t, ...answers)
  const running = await start(t, { openai: { baseURL: model.baseURL, apiKey: 'none', model: 'm', maxRetries: 0 }, ...options })
  return { ...running, model }
}

/** Returns the answer of a model that streams one word and then continues until it is stopped. */
function endless (): { answer: Answer, ended: Promise<void> } {
  const { promise, resolve } = deferred()
  return {
    answer: (response, { aborted }) => {
      begin(response)
      response.write(event('once '))
      void aborted.then(resolve)
    },
    ended: promise
  }
}

t.test('a document job reaches a client as in the platform\'s documentation, and its text can be fetched', async (t) => {
  const root = t.testdir({ 'a.ts': '/** One. */\nexport const one = 1\n', 'tsconfig.json': '{ "compilerOptions": { "lib": ["es2022"] } }' })
  const { ws, generate, result } = await start(t, { root })
  const client = await connect(t, ws('background_task_123'))
  const task = { sessionId: 'background_task_123', prompt: 'Generate documentation', mode: 'document', targetFile: 'a.ts' }
  const accepted = await generate(JSON.stringify(task), {})
  t.match(accepted, {
    status: 202,
    body: { sessionId: 'background_task_123', task: { prompt: 'Generate documentation', mode: 'document', targetFile: 'a.ts' } }
  }, 'also as text/plain, which fetch sends for a string')
  t.equal(accepted.headers.get('location'), accepted.body.resultUrl)
  t.equal(accepted.body.resultUrl, '/api/agent/result?sessionId=background_task_123')

  const messages = await jobMessages(client)
  const content = '# `a.ts`\n\n## `one`\n\n*constant*\n\n```ts\nconst one = 1\n```\n\nOne.\n'
  t.match(messages, [
    { type: 'ai_start', sessionId: 'background_task_123', task: { prompt: 'Generate documentation', mode: 'document', targetFile: 'a.ts' } },
    { type: 'ai_progress', progress: { chunksReceived: 1 } },
    { type: 'ai_progress', progress: { chunksReceived: 2, contentLength: content.length } },
    { type: 'ai_complete', result: { mode: 'document', contentLength: content.length, chunks: 2, targetFile: 'a.ts' } }
  ])
  t.same((await result('background_task_123')).body, {
    sessionId: 'background_task_123', status: 'complete', mode: 'document', targetFile: 'a.ts', chunks: 2, contentLength: content.length, content
  })
})

t.test('a model\'s text is streamed, and the session\'s next job may start as soon as the end is reported', async (t) => {
  const { ws, generate, result } = await startWithModel(t, [streamed(['Hel', 'lo']), streamed(['Bye'])])
  const client = await connect(t, ws('s'))
  t.match(await generate(TASK), { status: 202 })
  t.match((await jobMessages(client)).at(-1), { type: 'ai_complete', result: { mode: 'generate', contentLength: 5, chunks: 2 } })
  t.match(await result('s'), { status: 200, body: { status: 'complete', content: 'Hello' } })
  t.match(await generate({ ...TASK, mode: undefined }), { status: 202, body: { task: { mode: 'generate' } } }, 'generate is the default mode')
  t.match((await jobMessages(client)).at(-1), { type: 'ai_complete', result: { contentLength: 3 } })
  t.match(await result('s'), { body: { content: 'Bye' } })
})

t.test('a failed job ends with an ai_error of a meaningful type', async (t) => {
  const cases: ReadonlyArray<[Answer, string, RegExp]> = [
    [refused(429, { message: 'Rate limit reached', type: 'requests', code: 'rate_limit_exceeded' }), 'rate_limit_error', /Rate limit reached/],
    [refused(401, { message: 'Incorrect API key' }), 'authentication_error', /Incorrect API key/],
    [refused(404, { message: 'model "m" not found' }), 'not_found_error', /model "m" not found/],
    [refused(500, { message: 'oops' }), 'api_error', /oops/],
    [(response) => { begin(response); response.write(event('half'), () => { response.destroy() }) }, 'connection_error', /broke in the middle/]
  ]
  const { ws, generate, result } = await startWithModel(t, cases.map(([answer]) => answer))
  const client = await connect(t, ws('s'))
  for (const [, type, message] of cases) {
    t.match(await generate(TASK), { status: 202 })
    t.match((await jobMessages(client)).at(-1), { type: 'ai_error', sessionId: 's', error: { type, message } }, type)
    t.match(await result('s'), { body: { status: 'error', error: { message } } })
  }
  t.match((await result('s')).body, { content: 'half' }, 'the text so far is kept')
})

t.test('a file that can\'t be documented ends with an ai_error as well', async (t) => {
  const { ws, generate } = await start(t, { root: t.testdir({}) })
  const client = await connect(t, ws('s'))
  t.match(await generate({ sessionId: 's', mode: 'document', targetFile: 'missing.ts' }), { status: 202 })
  t.match(await jobMessages(client), [
    { type: 'ai_start' },
    { type: 'ai_error', error: { type: 'not_found_error', message: 'targetFile "missing.ts" does not exist: give a path relative to the project root' } }
  ])
})

t.test('an invalid request is answered immediately with what to do, and starts no job', async (t) => {
  const { ws, generate } = await start(t)
  const client = await connect(t, ws('s'))
  const json = { 'content-type': 'application/json' }
  const looks = /A task looks like \{"sessionId"/
  const cases: ReadonlyArray<[body: unknown, status: number, message: RegExp, headers?: Record<string, string>]> = [
    [{}, 400, /^must have required property 'sessionId'\. A task looks like \{"sessionId"/],
    [{ ...TASK, sessionId: '' }, 400, /^sessionId must NOT have fewer than 1 characters/],
    [{ ...TASK, sessionId: 'x'.repeat(257) }, 400, /^sessionId must match pattern/],
    [{ ...TASK, sessionId: 'a\nb' }, 400, /^sessionId must match pattern/],
    [{ ...TASK, mode: '' }, 400, /^mode must NOT/],
    [{ ...TASK, prompt: 'x'.repeat(40_000) }, 400, /^prompt must NOT have more than 32768/],
    [{ ...TASK, targetFile: '' }, 400, /^targetFile must NOT/],
    ['[]', 400, looks],
    ['"x"', 400, looks],
    ['{', 400, /JSON/],
    ['', 400, /cannot be empty/],
    ['{', 400, /JSON/, {}],
    [TASK, 415, /Send the task as content-type: application\/json, such as \{"sessionId"/, { 'content-type': 'application/x-www-form-urlencoded' }],
    [TASK, 501, /needs a language model: start the server with OPENAI_MODEL and/],
    [{ sessionId: 's', mode: 'document' }, 400, /needs a targetFile: give the path of a TypeScript file/],
    [{ sessionId: 's', mode: 'document', targetFile: '/etc/passwd' }, 400, /is absolute: give it relative to the project root/],
    [{ sessionId: 's', mode: 'document', targetFile: '../a.ts' }, 400, /leaves the project/],
    [{ sessionId: 's', mode: 'document', targetFile: 'a.js' }, 400, /give a file that ends in \.ts, \.tsx/]
  ]
  for (const [body, status, message, headers = json] of cases) t.match(await generate(body, headers), { status, body: { message } }, JSON.stringify(body).slice(0, 80))
  t.same(await client.sync(), [])

  const model = await startWithModel(t, [])
  t.match(await model.generate({ sessionId: 's', mode: 'generate' }), { status: 400, body: { message: /needs a prompt: say what/ } })
})

t.test('a missing result is answered with how to get one', async (t) => {
  const { http, result } = await start(t)
  t.match(await result('nobody'), { status: 404, body: { code: 'CANVAS_ERR_NO_RESULT', message: /^session "nobody" has no result: POST a task/ } })
  t.match(await call(`${http}/api/agent/result`), { status: 400, body: { message: /Name the session in the query, such as \?sessionId=my_session$/ } })
})

t.test('a session may have one job at a time, and the server a limited number', async (t) => {
  const { answer } = endless()
  const { ws, generate, result } = await startWithModel(t, [answer], { maxJobs: 2 })
  const client = await connect(t, ws('s'))
  t.match(await generate(TASK), { status: 202 })
  await client.nextOf('ai_progress')
  t.match((await result('s')).body, { status: 'running', content: '' })
  t.match(await generate(TASK), { status: 409, body: { code: 'CANVAS_ERR_SESSION_BUSY', message: /wait for its ai_complete or ai_error, or use another/ } })
  t.match(await generate({ ...TASK, sessionId: 's2' }), { status: 202 })
  t.match(await generate({ ...TASK, sessionId: 's3' }), { status: 429, body: { code: 'CANVAS_ERR_TOO_MANY_JOBS', message: /try again when one has ended/ } })
  t.same(await client.sync(), [], 'the refused request does not affect a running job')
})

t.test('a job that exceeds its duration ends, also at the model', async (t) => {
  const { answer, ended } = endless()
  const { ws, generate, result } = await startWithModel(t, [answer], { maxJobDurationMs: 200 })
  const client = await connect(t, ws('s'))
  await generate(TASK)
  t.match((await jobMessages(client)).at(-1), { type: 'ai_error', error: { type: 'timeout_error', message: 'the job was stopped after 0.2 seconds: ask for less at a time' } })
  await ended
  t.match((await result('s')).body, { status: 'error', content: 'once ' })
})

t.test('a text that exceeds its limit ends the job', async (t) => {
  const { ws, generate } = await startWithModel(t, [streamed(['12345', '67890', '!'])], { maxContentLength: 10 })
  const client = await connect(t, ws('s'))
  await generate(TASK)
  t.match((await jobMessages(client)).at(-1), { type: 'ai_error', error: { type: 'output_too_large' } })
})

t.test('a cancel ends the job for everyone and at the model, and frees the session for the next job', async (t) => {
  const { answer, ended } = endless()
  const { ws, generate, result } = await startWithModel(t, [answer, streamed(['next'])])
  const [client, other] = [await connect(t, ws('s')), await connect(t, ws('s'))]
  await generate(TASK)
  const { jobId } = await client.nextOf('ai_start') as { jobId?: string }
  await client.nextOf('ai_progress')
  client.send({ type: 'cancel', sessionId: 's' })
  t.match(await client.nextOf('cancelling'), { sessionId: 's', jobId })
  for (const each of [client, other]) t.match(await each.nextOf('ai_error'), { jobId, error: { type: 'cancelled' } })
  await ended
  t.match((await result('s')).body, { status: 'error', content: 'once ', error: { message: 'the job was cancelled' } })
  t.match(await generate(TASK), { status: 202 })
  t.match((await jobMessages(client)).at(-1), { type: 'ai_complete', result: { contentLength: 4 } })
})

t.test('a client that subscribes late receives the text from its beginning, or the end of the job', async (t) => {
  const { promise: more, resolve: goOn } = deferred()
  const { ws, generate } = await startWithModel(t, [async (response) => {
    begin(response)
    response.write(event('once '))
    await more
    response.end(`${event('more')}${event(undefined, 'stop')}data: [DONE]\n\n`)
  }])
  const first = await connect(t, ws('s'))
  await generate(TASK)
  await first.nextOf('ai_progress')
  const late = await connect(t, ws('s'))
  t.match(await late.next(), { type: 'ai_start', task: { prompt: 'Create a component' } })
  t.match(await late.next(), { type: 'ai_progress', progress: { delta: 'once ', offset: 0 } })
  goOn()
  t.match(await late.next(), { type: 'ai_progress', progress: { delta: 'more', offset: 5 } })
  t.match(await late.next(), { type: 'ai_complete', result: { contentLength: 9 } })
  const later = await connect(t, ws('s'))
  t.match(await later.nextOf('ai_complete'), { result: { contentLength: 9 } })
})

t.test('when the server closes, its jobs report their end before the sockets close', async (t) => {
  const { answer, ended } = endless()
  const { app, ws, generate } = await startWithModel(t, [answer])
  const client = await connect(t, ws('s'))
  await generate(TASK)
  await client.nextOf('ai_progress')
  const closing = app.close()
  t.match(await client.next(), { type: 'ai_error', error: { type: 'server_closing', message: 'the server is closing: try again in a moment' } })
  t.match(await client.closed, { code: 1012 })
  await ended
  await closing
})

t.test('a page of another host can\'t start a job; a page of this host can, on any port', async (t) => {
  const { http, generate } = await startWithModel(t, [streamed(['x'])], { origins: ['https://canvas.example.com'] })
  const from = async (origin: string, sessionId: string): Promise<Answered> => generate({ ...TASK, sessionId }, { 'content-type': 'text/plain', origin })
  for (const origin of ['https://evil.example', 'null', 'http://127.0.0.1.evil.example', 'http://localhost:3000']) {
    t.match(await from(origin, 's'), { status: 403, body: { code: 'CANVAS_ERR_FOREIGN_ORIGIN', message: /add its origin to ORIGINS/ } }, origin)
  }
  t.match(await from(http, 'a'), { status: 202 })
  t.match(await from('http://127.0.0.1:5173', 'b'), { status: 202 })
  t.match(await from('https://canvas.example.com', 'c'), { status: 202 })
})

t.test('nor can it subscribe to or stop a job: its connection is refused', async (t) => {
  const { answer } = endless()
  const { ws, generate, app } = await startWithModel(t, [answer], { origins: ['https://canvas.example.com'] })
  const { port } = app.server.address() as AddressInfo
  const own = await connect(t, ws('s'))
  await generate(TASK)
  await own.nextOf('ai_progress')
  /** Returns the outcome of a connection that a browser opens for a page, to the server under this host name. */
  const from = async (origin: string, host = `127.0.0.1:${port}`): Promise<string> => {
    const socket = new WebSocket(ws('s'), { origin, headers: { host } })
    t.teardown(() => { socket.terminate() })
    return new Promise((resolve) => {
      socket.on('open', () => { resolve('open') })
      socket.on('error', ({ message }) => { resolve(message) })
    })
  }
  for (const origin of ['https://evil.example', 'null', 'http://127.0.0.1.evil.example:3001']) {
    t.match(await from(origin), /403/, origin)
  }
  t.match(await from(`http://evil.example:${port}`, `evil.example:${port}`), /403/, 'a foreign name that points to this machine')
  for (const host of ['localhost', '127.0.0.1', '[::1]']) {
    t.equal(await from(`http://${host}:${port}`, `${host}:${port}`), 'open', `the page that is served at ${host}`)
    t.equal(await from(`http://${host}:3000`, `${host}:${port}`), 'open', `a development server's page at ${host}`)
  }
  t.equal(await from('https://canvas.example.com'), 'open', 'a listed origin')
})

t.test('the manager can be imported from the path in the platform\'s documentation', async (t) => {
  const { app, ws } = await start(t)
  const wsManager = getWebSocketManager()
  t.equal(wsManager, app.wsManager)
  const client = await connect(t, ws('s'))
  t.match(await wsManager.notifyAIComplete('s', { mode: 'generate', contentLength: 5000, chunks: 100 }), { recipients: 1 })
  t.match(await client.next(), { type: 'ai_complete', result: { chunks: 100 } })
  client.ws.close()
  await once(client.ws, 'close')
})
