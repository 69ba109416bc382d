import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import OpenAI from 'openai'
import t, { type Test } from 'tap'
import { startApp } from '../support/app.js'
import { connect, type Message } from '../support/ws-client.js'

/** A source that yields one piece and then waits forever. */
async function* waiting (): AsyncGenerator<string> {
  yield 'first'
  await new Promise(() => { /* a model that hangs */ })
}

t.test('a client cancels a tracked job: it is notified, the job ends, and the consumer\'s loop throws', async (t) => {
  const { app, url } = await startApp(t, { allowCancel: true })
  const tabs = [await connect(t, url('?sessionId=s')), await connect(t, url('?sessionId=s'))]
  const running = (async () => {
    for await (const chunk of app.wsManager.trackAI('s', {}, waiting())) t.equal(chunk, 'first')
  })()
  const { jobId } = await tabs[0]!.nextOf('ai_progress') as Message & { jobId: string }
  tabs[0]!.send({ type: 'cancel', sessionId: 's', jobId })
  await t.rejects(running, { name: 'AbortError' })
  t.match(await tabs[0]!.next(), { type: 'cancelling', sessionId: 's', jobId })
  t.match(await tabs[0]!.next(), { type: 'ai_error', jobId, error: { type: 'cancelled' } })
  t.match(await tabs[1]!.nextOf('ai_error'), { jobId, error: { type: 'cancelled' } })
  tabs[0]!.send({ type: 'cancel', sessionId: 's', jobId })
  t.match(await tabs[0]!.next(), { type: 'error', code: 'not_cancellable', sessionId: 's', jobId })
})

/** A model behind OpenAI's API that streams one word and never ends. Returns its client and the response in progress. */
async function endlessModel (t: Test): Promise<{ openai: OpenAI, answering: Promise<ServerResponse> }> {
  const model = createServer((request, response) => {
    request.resume()
    response.setHeader('content-type', 'text/event-stream')
    response.write(`data: ${JSON.stringify({ choices: [{ index: 0, delta: { content: 'word' } }] })}\n\n`)
  })
  const answering = once(model, 'request').then(([, response]) => response as ServerResponse)
  model.listen(0, '127.0.0.1')
  await once(model, 'listening')
  t.teardown(() => {
    model.closeAllConnections()
    model.close()
  })
  const { port } = model.address() as AddressInfo
  return { openai: new OpenAI({ apiKey: 'none', baseURL: `http://127.0.0.1:${port}/v1`, maxRetries: 0 }), answering }
}

t.test('a cancel aborts the request to the model, in a function with the signal and in the SDK\'s own stream', async (t) => {
  const { app, url } = await startApp(t, { allowCancel: true })
  const client = await connect(t, url('?sessionId=s'))
  const ask: OpenAI.ChatCompletionCreateParamsStreaming = { model: 'm', messages: [], stream: true }
  for (const form of ['function', 'promise'] as const) {
    const { openai, answering } = await endlessModel(t)
    const { completions } = openai.chat
    const source = form === 'function' ? (signal: AbortSignal) => completions.create(ask, { signal }) : completions.create(ask)
    const running = (async () => {
      for await (const chunk of app.wsManager.trackAI('s', {}, source, { text: true })) t.equal(chunk.choices[0]!.delta.content, 'word')
    })()
    await client.nextOf('ai_progress')
    const closed = once(await answering, 'close')
    client.send({ type: 'cancel', sessionId: 's' })
    await t.rejects(running, { name: 'AbortError' })
    await closed
    t.match(await client.nextOf('ai_error'), { error: { type: 'cancelled' } })
  }
})

t.test('a cancel before the model\'s first output aborts the request too', async (t) => {
  const { app, url } = await startApp(t, { allowCancel: true })
  const client = await connect(t, url('?sessionId=s'))
  const silent = createServer(() => undefined)
  silent.listen(0, '127.0.0.1')
  await once(silent, 'listening')
  t.teardown(() => { silent.close() })
  const { port } = silent.address() as AddressInfo
  const openai = new OpenAI({ apiKey: 'none', baseURL: `http://127.0.0.1:${port}/v1`, maxRetries: 0 })
  const chunks = app.wsManager.trackAI('s', {}, (signal) => openai.chat.completions.create({ model: 'm', messages: [], stream: true }, { signal }))
  const next = chunks.next()
  const [, response] = await once(silent, 'request') as [unknown, ServerResponse]
  const closed = once(response, 'close')
  client.send({ type: 'cancel', sessionId: 's' })
  await t.rejects(next, { name: 'AbortError' })
  await closed
})

t.test('cancelling is forbidden unless the app allows it', async (t) => {
  const { app, url } = await startApp(t)
  const client = await connect(t, url('?sessionId=s'))
  const job = app.wsManager.startAI('s', {})
  client.send({ type: 'cancel', sessionId: 's' })
  t.match(await client.nextOf('error'), { code: 'forbidden', sessionId: 's' })
  t.equal(job.signal.aborted, false)
})

t.test('with authenticate, authorize decides which jobs a client may cancel', async (t) => {
  const { app, url } = await startApp(t, {
    authenticate: (_request, { token }) => ({ userId: token! }),
    authorize: ({ userId }, action) => action.type === 'subscribe' || (userId === 'owner' && action.jobId === 'j')
  })
  const job = app.wsManager.startAI('s', {}, { jobId: 'j' })
  for (const [token, jobId, code] of [['guest', 'j', 'forbidden'], ['owner', 'k', 'forbidden'], ['owner', 'j', undefined]] as const) {
    const client = await connect(t, url(`?sessionId=s&token=${token}`))
    client.send({ type: 'cancel', sessionId: 's', jobId })
    const answer = await client.nextOf(code === undefined ? 'cancelling' : 'error')
    t.match(answer, { sessionId: 's', jobId, ...code !== undefined && { code } })
    t.equal(job.signal.aborted, code === undefined)
  }
})

t.test('a job without a handle can\'t be cancelled, unless there is an onCancel hook', async (t) => {
  const plain = await startApp(t, { allowCancel: true })
  await plain.app.wsManager.notifyAIStart('s', {}, { jobId: 'j' })
  const client = await connect(t, plain.url('?sessionId=s'))
  client.send({ type: 'cancel', sessionId: 's' })
  t.match(await client.nextOf('error'), { code: 'not_cancellable', sessionId: 's' })

  const asked: object[] = []
  const { app, url } = await startApp(t, { allowCancel: true, onCancel: (job) => { asked.push(job) } })
  await app.wsManager.notifyAIStart('s', {}, { jobId: 'j' })
  const other = await connect(t, url('?sessionId=s'))
  other.send({ type: 'cancel', sessionId: 's' })
  t.match(await other.nextOf('cancelling'), { jobId: 'j' })
  t.same(asked, [{ sessionId: 's', jobId: 'j' }])
})

t.test('an onCancel that resolves with false later is respected', async (t) => {
  const { app, url } = await startApp(t, { allowCancel: true, onCancel: ({ jobId }) => Promise.resolve(jobId === 'queued') })
  const client = await connect(t, url('?sessionId=s'))
  client.send({ type: 'cancel', sessionId: 's', jobId: 'done' })
  t.match(await client.next(), { type: 'error', code: 'not_cancellable', jobId: 'done' })
  client.send({ type: 'cancel', sessionId: 's', jobId: 'queued' })
  t.match(await client.next(), { type: 'cancelling', jobId: 'queued' })
  t.same(await Promise.all(['done', 'queued'].map((jobId) => app.wsManager.cancelAI('s', { jobId }))), [false, true])
})

t.test('closing all tabs cancels nothing', async (t) => {
  const { app, url } = await startApp(t, { allowCancel: true })
  const client = await connect(t, url('?sessionId=s'))
  const job = app.wsManager.startAI('s', {})
  await client.nextOf('ai_start')
  await client.close()
  t.equal(job.signal.aborted, false)
  t.notOk((await job.complete({})).dropped)
  t.match(await (await connect(t, url('?sessionId=s'))).next(), { type: 'ai_complete', jobId: job.jobId })
})
