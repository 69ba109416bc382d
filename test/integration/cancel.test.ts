import t from 'tap'
import { startApp } from '../support/app.js'
import { connect, type Message } from '../support/ws-client.js'

/** A source that says one thing and then waits for ever. */
async function* waiting (): AsyncGenerator<string> {
  yield 'first'
  await new Promise(() => { /* a model that thinks */ })
}

t.test('a client cancels a tracked job: it is told, the job ends, and its reader is thrown', async (t) => {
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

t.test('it is forbidden unless the app allows it', async (t) => {
  const { app, url } = await startApp(t)
  const client = await connect(t, url('?sessionId=s'))
  const job = app.wsManager.startAI('s', {})
  client.send({ type: 'cancel', sessionId: 's' })
  t.match(await client.nextOf('error'), { code: 'forbidden', sessionId: 's' })
  t.equal(job.signal.aborted, false)
})

t.test('with authenticate, authorize decides who may cancel what', async (t) => {
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

t.test('a job without a handle is not cancellable, unless onCancel is there to do it', async (t) => {
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

t.test('an onCancel that answers false later is believed', async (t) => {
  const { app, url } = await startApp(t, { allowCancel: true, onCancel: ({ jobId }) => Promise.resolve(jobId === 'queued') })
  const client = await connect(t, url('?sessionId=s'))
  client.send({ type: 'cancel', sessionId: 's', jobId: 'done' })
  t.match(await client.next(), { type: 'error', code: 'not_cancellable', jobId: 'done' })
  client.send({ type: 'cancel', sessionId: 's', jobId: 'queued' })
  t.match(await client.next(), { type: 'cancelling', jobId: 'queued' })
  t.same(await Promise.all(['done', 'queued'].map((jobId) => app.wsManager.cancelAI('s', { jobId }))), [false, true])
})

t.test('closing every tab cancels nothing', async (t) => {
  const { app, url } = await startApp(t, { allowCancel: true })
  const client = await connect(t, url('?sessionId=s'))
  const job = app.wsManager.startAI('s', {})
  await client.nextOf('ai_start')
  await client.close()
  t.equal(job.signal.aborted, false)
  t.notOk((await job.complete({})).dropped)
  t.match(await (await connect(t, url('?sessionId=s'))).next(), { type: 'ai_complete', jobId: job.jobId })
})
