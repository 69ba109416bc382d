import { setImmediate as turn } from 'node:timers/promises'
import t, { type Test } from 'tap'
import type { AIOutcome } from '../../../lib/manager/ai-run.js'
import { createFarServer, createServer, type TestServer } from '../../support/server.js'

/** Unhandled rejections of all tests in this file. */
const unhandled: unknown[] = []
process.on('unhandledRejection', (reason) => { unhandled.push(reason) })

/** A model whose output the test controls, until its signal aborts. */
function model () {
  let give: (text: string) => void = () => undefined
  let finish: () => void = () => undefined
  const signals: AbortSignal[] = []
  async function* ask (signal: AbortSignal): AsyncGenerator<string> {
    for (;;) {
      const text = await new Promise<string | undefined>((resolve, reject) => {
        give = resolve
        finish = () => { resolve(undefined) }
        signal.addEventListener('abort', () => { reject(signal.reason as Error) })
      })
      if (text === undefined) return
      yield text
    }
  }
  return {
    signals,
    source: (signal: AbortSignal) => {
      signals.push(signal)
      return ask(signal)
    },
    async say (text: string) {
      give(text)
      await turn()
    },
    async end () {
      finish()
      await turn()
    }
  }
}

/** A running job that has streamed "One ". */
async function running (t: Test, server: TestServer, options: Parameters<TestServer['manager']['runAI']>[3] = {}) {
  const peer = await server.connect({ sessionId: 's' })
  const { source, ...hand } = model()
  let outcome: AIOutcome | undefined
  const run = server.manager.runAI('s', { prompt: 'Count' }, source, { text: true, jobId: 'j', ...options as object })
  void run.then((ended) => { outcome = ended })
  await turn()
  await hand.say('One ')
  t.match(peer.take(), [{ type: 'ai_start', jobId: 'j', task: { prompt: 'Count' } }, { type: 'ai_progress' }])
  return { peer, run, ...hand, get outcome () { return outcome } }
}

t.test('runAI reads the stream to its end and resolves with the outcome', async (t) => {
  const server = createServer()
  const job = await running(t, server)
  await job.say('two')
  t.equal(job.outcome, undefined)
  await job.end()
  const result = { contentLength: 7, chunks: 2 }
  t.strictSame(await job.run, { jobId: 'j', text: 'One two', status: 'complete', result })
  t.match(job.peer.take(), [{ type: 'ai_progress', progress: { delta: 'two' } }, { type: 'ai_complete', jobId: 'j', result }])
  t.equal(job.signals[0]!.aborted, false)
})

t.test('runAI generates an id if none is given, and accepts a stream as well as a function', async (t) => {
  const server = createServer()
  const peer = await server.connect({ sessionId: 's' })
  for (const source of [['a', 'b'], Promise.resolve(['a', 'b']), new Blob(['ab']).stream()]) {
    const { jobId, text, status } = await server.manager.runAI<unknown>('s', { mode: 'm' }, source as string[])
    t.match(peer.take(), [{ type: 'ai_start', jobId }, {}, {}].slice(0, 1), 'subscribers get the same id')
    t.same([text, status], ['ab', 'complete'])
  }
})

t.test('the outcome has the text with every value of the options text and sendText', async (t) => {
  const server = createServer()
  const chunk = { choices: [{ index: 0, delta: { content: 'Hello ' } }] }
  const rows: Array<[options: object, chunks: unknown[], text: string, sent: string]> = [
    [{}, [chunk, chunk], 'Hello Hello ', ''],
    [{ text: false }, ['a', 'b'], 'ab', ''],
    [{ text: true }, ['a', 'b'], 'ab', 'ab'],
    [{ text: true, sendText: false }, ['a', 'b'], 'ab', ''],
    [{ sendText: true }, ['a', 'b'], 'ab', 'ab'],
    [{ text: ({ word }: { word: string }) => word }, [{ word: 'w' }], 'w', 'w'],
    [{ text: true, throttleMs: Infinity }, ['a', 'b', 'c', 'd'], 'abcd', 'abcd'],
    [{ text: true, throttleMs: 0 }, ['\ud83d', '\udc4b', '\ud83d'], '👋\ud83d', '👋\ud83d'],
    [{ text: true }, [{ nothing: 'known' }], '', '']
  ]
  for (const [options, chunks, text, sent] of rows) {
    const peer = await server.connect({ sessionId: 's' })
    const outcome = await server.manager.runAI('s', {}, () => chunks, options)
    t.match(outcome, { status: 'complete', text, result: { contentLength: text.length, chunks: chunks.length } })
    const deltas = peer.take().filter(({ type }) => type === 'ai_progress').map(({ progress }) => (progress as { delta?: string }).delta ?? '')
    t.equal(deltas.join(''), sent)
    peer.leave()
  }
})

t.test('only the end of a long text is kept', async (t) => {
  const server = createServer({ jobs: { maxTextUnits: 16 } })
  const pieces = Array.from({ length: 100 }, (_, index) => `${index} `)
  const whole = pieces.join('')
  const outcome = await server.manager.runAI('s', {}, pieces, { throttleMs: 0 })
  t.match(outcome, { status: 'complete', truncated: true, result: { contentLength: whole.length } })
  t.ok(whole.endsWith(outcome.text) && outcome.text.length > 8 && outcome.text.length <= 16)
})

t.test('the option result replaces the result, and its error is the outcome', async (t) => {
  const server = createServer()
  t.match(await server.manager.runAI('s', {}, ['a'], { result: (result) => ({ ...result, model: 'm' }) }), { status: 'complete', result: { chunks: 1, model: 'm' } })
  const broken = new Error('broken')
  t.match(await server.manager.runAI('s', {}, ['a'], { result: () => { throw broken } }), {
    status: 'error', text: 'a', error: { message: 'broken', type: 'internal_error' }, cause: broken
  })
})

t.test('a result that can\'t be sent is a failure for the app and for subscribers', async (t) => {
  const server = createServer()
  const peer = await server.connect({ sessionId: 's' })
  for (const result of [{ total: 1n }, 7 as never, null as never]) {
    const outcome = await server.manager.runAI('s', {}, ['a'], { result: () => result })
    t.match(outcome, { status: 'error', text: 'a', error: { type: 'internal_error' }, cause: { code: /^AICW_ERR/ } })
    t.match(peer.take().at(-1), { type: 'ai_error', error: (outcome as { error: object }).error })
  }
})

t.test('the outcome of a failed model has its error', async (t) => {
  const server = createServer()
  const peer = await server.connect({ sessionId: 's' })
  const broken = Object.assign(new Error('slow down'), { status: 429 })
  const sources: Record<string, [source: () => Iterable<unknown> | Promise<string[]>, text: string]> = {
    'a function that throws': [() => { throw broken }, ''],
    'a function that rejects': [() => Promise.reject(broken), ''],
    'a stream that throws': [function* () { yield 'a'; throw broken }, 'a']
  }
  for (const [what, [source, text]] of Object.entries(sources)) {
    const outcome = await server.manager.runAI('s', {}, source as () => string[], { text: true })
    t.match(outcome, { status: 'error', text, error: { message: 'slow down', type: 'rate_limit_error' }, cause: broken }, what)
    t.match(peer.take().at(-1), { type: 'ai_error', jobId: outcome.jobId, error: { type: 'rate_limit_error' } })
  }
  const told = await server.manager.runAI('s', {}, [{ type: 'error', error: { message: 'Overloaded', type: 'overloaded_error' } }])
  t.match(told, { status: 'error', error: { message: 'Overloaded', type: 'overloaded_error' } })
  t.notOk('cause' in told, 'nothing was thrown')
  t.match(await server.manager.runAI('s', {}, 7 as never), { status: 'error', error: { message: /^the job needs a stream/ }, cause: TypeError })
})

t.test('a cancel stops the model and resolves with an outcome', async (t) => {
  const caller = new AbortController()
  const reason = new Error('the user has left')
  const ways: Record<string, [cancel: (server: TestServer) => unknown, message: string]> = {
    'a client\'s': [async (server) => {
      const other = await server.connect({ sessionId: 's' })
      t.match(other.ask({ type: 'cancel', sessionId: 's' }).at(-1), { type: 'cancelling' })
    }, 'the job was cancelled'],
    'the app\'s': [(server) => server.manager.cancelAI('s', { jobId: 'j' }), 'the job was cancelled'],
    'the signal\'s': [() => { caller.abort(reason) }, 'the user has left']
  }
  for (const [what, [cancel, message]] of Object.entries(ways)) {
    const server = createServer({ allowCancel: true })
    const job = await running(t, server, { signal: caller.signal })
    await cancel(server)
    const { status, text, error, cause } = await job.run as Extract<AIOutcome, { cause?: unknown }>
    t.match({ status, text, error }, { status: 'cancelled', text: 'One ', error: { message, type: 'cancelled' } }, what)
    t.equal(cause, job.signals[0]!.reason)
    t.match(job.peer.take(), [{ type: 'ai_error', error: { message, type: 'cancelled' } }])
  }
})

t.test('invalid arguments reject, without calling the source or starting a job', async (t) => {
  const server = createServer()
  const peer = await server.connect({ sessionId: 's' })
  const rows: Array<[run: (ask: () => string[]) => Promise<unknown>, code: string]> = [
    [(ask) => server.manager.runAI('', {}, ask), 'AICW_ERR_INVALID_ID'],
    [(ask) => server.manager.runAI(undefined as never, {}, ask), 'AICW_ERR_INVALID_ID'],
    [(ask) => server.manager.runAI('s', {}, ask, { jobId: '' }), 'AICW_ERR_INVALID_ID'],
    [(ask) => server.manager.runAI('s', {}, ask, { jobId: 7 as never }), 'AICW_ERR_INVALID_ID'],
    [(ask) => server.manager.runAI('s', 'task' as never, ask), 'AICW_ERR_INVALID_MESSAGE'],
    [(ask) => server.manager.runAI('s', { n: 1n }, ask), 'AICW_ERR_NOT_SERIALIZABLE']
  ]
  let asked = 0
  const ask = (): string[] => {
    asked++
    return ['a']
  }
  for (const [run, code] of rows) {
    void run(ask)
    await t.rejects(run(ask), { code })
  }
  t.equal(asked, 0)
  t.same(peer.take(), [])
  t.same(server.counters.failed, 2 * rows.length, 'and each is logged and counted')
  t.match(await server.manager.runAI('s', {}, ask, null as never), { status: 'complete' }, 'null is no options')
})

t.test('invalid options reject, and end a job that has started', async (t) => {
  const server = createServer()
  const peer = await server.connect({ sessionId: 's' })
  const broken = new Error('it can\'t be read')
  void server.manager.runAI('s', {}, ['a'], { get text (): boolean { throw broken } })
  await t.rejects(server.manager.runAI('s', {}, ['a'], { get text (): boolean { throw broken } }), broken)
  t.same(peer.take(), [])
  await t.rejects(server.manager.runAI('s', {}, ['a'], { signal: {} as never }), TypeError)
  t.match(peer.take(), [{ type: 'ai_start' }, { type: 'ai_error', error: { type: 'internal_error' } }])
})

t.test('closing the server stops the model: the outcome and subscribers get interrupted', async (t) => {
  const server = createServer()
  const job = await running(t, server)
  await server.manager.close()
  const outcome = await job.run
  t.match(outcome, { status: 'error', jobId: 'j', text: 'One ', error: { type: 'interrupted', message: 'the server was stopped while the job was running' } })
  t.equal(job.signals[0]!.aborted, true)
  t.match(job.peer.take(), [{ type: 'ai_error', jobId: 'j', error: (outcome as { error: object }).error }], 'once')
})

t.test('after close, a source function is not called and an existing stream is closed', async (t) => {
  const server = createServer()
  await server.manager.close()
  let asked = 0
  t.match(await server.manager.runAI('s', {}, () => [`${asked++}`], { jobId: 'j' }), { status: 'error', jobId: 'j', text: '', error: { type: 'interrupted' } })
  t.equal(asked, 0)
  const controller = new AbortController()
  t.match(await server.manager.runAI('s', {}, Object.assign(['a'], { controller })), { error: { type: 'interrupted' } })
  t.equal(controller.signal.aborted, true)
})

t.test('a run that has ended is released, and close does not change it', async (t) => {
  const server = createServer()
  const hand = model()
  const run = server.manager.runAI('s', {}, hand.source)
  await turn()
  await hand.end()
  t.match(await run, { status: 'complete' })
  await server.manager.close()
  t.equal(hand.signals[0]!.aborted, false)
})

t.test('a stalled job continues when the model does', async (t) => {
  const server = createServer({ jobs: { stallAfterMs: 1_000 } })
  const job = await running(t, server)
  server.clock.advance(1_000)
  t.match(job.peer.take(), [{ type: 'ai_error', error: { type: 'stalled' } }])
  await turn()
  t.equal(job.outcome, undefined)
  await job.say('two')
  await job.end()
  t.match(await job.run, { status: 'complete', text: 'One two' })
  t.match(job.peer.take().at(-1), { type: 'ai_complete', supersedes: true })

  const silent = createServer({ jobs: { stallAfterMs: 1_000 } })
  const stalled = await running(t, silent)
  silent.clock.advance(1_000)
  await silent.manager.close()
  t.match(await stalled.run, { status: 'error', text: 'One ', error: { type: 'interrupted' } }, 'otherwise close ends it')
})

t.test('the outcome does not depend on a broker that fails or never answers', async (t) => {
  for (const answer of ['fails', 'never answers'] as const) {
    const server = createFarServer()
    const run = server.manager.runAI('s', {}, ['a', 'b'], { text: true })
    if (answer === 'fails') {
      for (let i = 0; i < 5; i++) {
        server.broker.fail()
        await turn()
      }
    }
    t.match(await run, { status: 'complete', text: 'ab', result: { chunks: 2 } }, answer)
  }
})

t.test('concurrent runs don\'t mix', async (t) => {
  const server = createServer()
  const outcomes = await Promise.all(Array.from({ length: 20 }, (_, index) => {
    return server.manager.runAI('s', {}, async function* () {
      for (const piece of [`${index}`, ' is ', 'done']) {
        await turn()
        yield piece
      }
    })
  }))
  t.same(outcomes.map(({ text }) => text), outcomes.map((_, index) => `${index} is done`))
  t.equal(new Set(outcomes.map(({ jobId }) => jobId)).size, 20)
})

t.test('an error that a stream throws on abort is logged with its job', async (t) => {
  const server = createServer()
  const broken = new Error('broken')
  const source = Object.assign((async function* () { yield await new Promise<string>(() => undefined) })(), { abort: () => { throw broken } })
  const run = server.manager.runAI('s', {}, source, { jobId: 'j' })
  await turn()
  await server.manager.cancelAI('s')
  t.match(await run, { status: 'cancelled' })
  t.match(server.log.entries.at(-1), { level: 'warn', fields: { err: broken, sessionId: 's', jobId: 'j' } })
})

t.test('no run of these tests caused an unhandled rejection', async (t) => {
  await turn()
  t.same(unhandled, [])
})
