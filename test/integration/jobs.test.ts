import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { readStream } from '../fixtures/streams/read.js'
import { startApp } from '../support/app.js'
import { Reader } from '../support/reader.js'
import { connect, type Message, type TestClient } from '../support/ws-client.js'

/** Reads everything up to the end of a job. */
async function untilEnd (client: TestClient): Promise<Message[]> {
  const messages: Message[] = []
  for (;;) {
    const message = await client.next()
    messages.push(message)
    if (message.type === 'ai_complete' || message.type === 'ai_error') return messages
  }
}

async function* slowly<T> (chunks: readonly T[]): AsyncGenerator<T> {
  for (const chunk of chunks) {
    yield chunk
    await sleep(1)
  }
}

t.test('a handle reports its own job, independent of others', async (t) => {
  const { app, url } = await startApp(t)
  const client = await connect(t, url('?sessionId=s'))
  const first = app.wsManager.startAI('s', { prompt: 'one' })
  const second = app.wsManager.startAI('s', { prompt: 'two' }, { jobId: 'mine' })
  t.match(await first.started, { jobId: first.jobId, seq: 1, recipients: 1 })
  t.equal(second.jobId, 'mine')
  t.equal(second.sessionId, 's')
  await first.progress({ chunksReceived: 1 })
  await second.error(Object.assign(new Error('too many'), { status: 429 }))
  t.strictSame((await first.complete({ chunks: 1 })).jobId, first.jobId)
  const messages = []
  for (let i = 0; i < 5; i++) messages.push(await client.next())
  t.match(messages, [
    { type: 'ai_start', jobId: first.jobId, seq: 1 }, { type: 'ai_start', jobId: 'mine', seq: 2 },
    { type: 'ai_progress', jobId: first.jobId }, { type: 'ai_error', jobId: 'mine', error: { type: 'rate_limit_error' } },
    { type: 'ai_complete', jobId: first.jobId, result: { chunks: 1 } }
  ])
  t.equal((await second.complete({})).dropped, 'ended')
  t.strictSame(await client.sync(), [])
})

t.test('calls with only a session id report one job, in whatever order they come', async (t) => {
  const { app, url } = await startApp(t)
  const client = await connect(t, url('?sessionId=s'))
  const { wsManager } = app
  await wsManager.notifyAIProgress('s', { chunksReceived: 25 })
  await wsManager.notifyAIComplete('s', {})
  t.equal((await wsManager.notifyAIProgress('s', { chunksReceived: 26 })).dropped, 'ended', 'a stray call starts no job')
  await wsManager.notifyAIProgress('s', { chunksReceived: 1 })
  await wsManager.notifyAIError('s', { message: 'm', type: 't' })
  await wsManager.notifyAIComplete('s', { late: true })
  const messages = await client.sync()
  t.same(messages.map(({ type }) => type), ['ai_progress', 'ai_complete', 'ai_progress', 'ai_error', 'ai_complete'])
  const [a, b, c, d, e] = messages.map(({ jobId }) => jobId as string)
  t.ok(a === b && c === d && new Set([a, c, e]).size === 3)
})

for (const [name, about] of [
  ['openai-chat-azure', 'OpenAI chat completions'], ['openai-responses-tools', 'OpenAI responses'], ['anthropic-messages', 'Anthropic messages'],
  ['ai-sdk-5', 'the AI SDK\'s fullStream']
] as const) {
  t.test(`trackAI delivers the text of ${about} to every tab`, async (t) => {
    const { app, url } = await startApp(t)
    const tabs = [await connect(t, url('?sessionId=s')), await connect(t, url('?sessionId=s'))]
    const { text, chunks } = readStream(name)
    const source = name === 'ai-sdk-5' ? { fullStream: ReadableStream.from(chunks) } : slowly(chunks)
    const passed: unknown[] = []
    for await (const chunk of app.wsManager.trackAI('s', { mode: 'generate', targetFile: 'a.md' }, source, { text: true, throttleMs: 3 })) passed.push(chunk)
    t.same(passed, chunks)
    for (const tab of tabs) {
      const messages = await untilEnd(tab)
      const reader = new Reader()
      for (const message of messages) if (message.type === 'ai_progress') reader.take(message)
      t.equal(reader.text(messages[0]!.jobId as string), text)
      t.equal(messages[0]!.type, 'ai_start')
      t.match(messages.at(-1), { type: 'ai_complete', result: { mode: 'generate', targetFile: 'a.md', contentLength: text.length, chunks: chunks.length } })
      t.match(messages.at(-2), { type: 'ai_progress', progress: { chunksReceived: chunks.length, contentLength: text.length } })
    }
  })
}

t.test('trackAI delivers the AI SDK\'s textStream to every tab', async (t) => {
  const { app, url } = await startApp(t)
  const client = await connect(t, url('?sessionId=s'))
  const passed: string[] = []
  for await (const text of app.wsManager.trackAI('s', {}, ReadableStream.from(['Héllo ', '👋']), { text: true, jobId: 'j' })) passed.push(text)
  t.same(passed, ['Héllo ', '👋'])
  const messages = await untilEnd(client)
  const deltas = messages.map(({ progress }) => (progress as { delta?: string } | undefined)?.delta ?? '')
  t.equal(deltas.join(''), 'Héllo 👋')
  t.match(messages.at(-1), { type: 'ai_complete', jobId: 'j', result: { contentLength: 8, chunks: 2 } })
})

t.test('trackAI reports the source\'s error and rethrows it', async (t) => {
  const { app, url } = await startApp(t)
  const client = await connect(t, url('?sessionId=s'))
  const broken = Object.assign(new Error('overloaded'), { status: 529 })
  const source = (async function* () {
    yield 'half'
    await sleep(1)
    throw broken
  })()
  await t.rejects(async () => { for await (const chunk of app.wsManager.trackAI('s', {}, source)) t.equal(chunk, 'half') }, broken)
  t.match((await untilEnd(client)).at(-1), { type: 'ai_error', error: { message: 'overloaded', type: 'overloaded_error' } })
})

t.test('a result that JSON can\'t represent ends the job with an error, so that nobody waits for it', async (t) => {
  const { app, url } = await startApp(t)
  const client = await connect(t, url('?sessionId=s'))
  const passed: string[] = []
  for await (const chunk of app.wsManager.trackAI('s', {}, ['a'], { result: () => ({ total: 1n }) })) passed.push(chunk)
  t.same(passed, ['a'])
  t.match(await client.nextOf('ai_error'), { error: { message: /can't be written as JSON/ } })
  t.same(await client.sync(), [], 'once')
})

t.test('leaving the loop over trackAI ends the job', async (t) => {
  const { app, url } = await startApp(t)
  const client = await connect(t, url('?sessionId=s'))
  for await (const chunk of app.wsManager.trackAI('s', {}, ['a', 'b'])) {
    t.equal(chunk, 'a')
    break
  }
  t.match((await untilEnd(client)).at(-1), { type: 'ai_error', error: { type: 'cancelled' } })
})

t.test('a job without reports counts as stalled, and its real end is still sent', async (t) => {
  const { app, url } = await startApp(t, { jobs: { stallAfterMs: 30 } })
  const client = await connect(t, url('?sessionId=s'))
  const { jobId } = await app.wsManager.notifyAIStart('s', {})
  t.match(await client.nextOf('ai_error'), { jobId, seq: 2, error: { type: 'stalled' } })
  t.match(await app.wsManager.notifyAIComplete('s', { chunks: 1 }), { jobId })
  const end = await client.next()
  t.match(end, { type: 'ai_complete', jobId, seq: 3, supersedes: true })
  await app.wsManager.notifyAIComplete('s', { chunks: 1 })
  const next = await client.next()
  t.notOk('supersedes' in next, 'only once')
  t.not(next.jobId, jobId)
  const late = await connect(t, url('?sessionId=s'))
  t.match(await late.next(), { type: 'ai_complete', jobId: next.jobId as string })
})

t.test('on app.close() this process\'s jobs are interrupted before the sockets close', async (t) => {
  const { app, url } = await startApp(t)
  const client = await connect(t, url('?sessionId=s'))
  const handle = app.wsManager.startAI('s', {})
  const { jobId } = await app.wsManager.notifyAIStart('s', {})
  await app.wsManager.notifyAIComplete('other', {})
  const closed = app.close()
  const ends: Message[] = []
  while (ends.length < 2) ends.push(await client.nextOf('ai_error'))
  t.same(ends.map((end) => end.jobId as string).sort(), [handle.jobId, jobId].sort())
  for (const end of ends) t.match(end, { error: { type: 'interrupted' } })
  t.match(await client.closed, { code: 1012 })
  await closed
  t.strictSame(await handle.complete({}), { recipients: 0 })
})
