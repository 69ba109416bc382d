import t from 'tap'
import { handHook } from '../../support/hand-hook.js'
import { turn } from '../../support/hand-broker.js'
import { createFarServer, createServer } from '../../support/server.js'

const cancel = { type: 'cancel', sessionId: 's', jobId: 'j' }

t.test('a client\'s cancel aborts the job\'s signal, after the reply', async (t) => {
  const server = createServer({ allowCancel: true })
  const peer = await server.connect({ sessionId: 's' })
  const job = server.manager.startAI('s', {}, { jobId: 'j' })
  job.signal.addEventListener('abort', () => { void job.error(job.signal.reason as Error) })
  peer.take()
  peer.send(cancel)
  t.equal(job.signal.aborted, false)
  await turn()
  const messages = peer.take()
  t.match(messages, [{ type: 'cancelling', sessionId: 's', jobId: 'j', timestamp: /Z$/ }, { type: 'ai_error', error: { type: 'cancelled' } }])
  t.match(peer.ask(cancel), [{ type: 'error', code: 'not_cancellable', sessionId: 's', jobId: 'j' }], 'it has ended')
})

t.test('without a jobId, the newest running job is cancelled', async (t) => {
  const server = createServer({ allowCancel: true })
  const peer = await server.connect()
  const jobs = ['a', 'b'].map((jobId) => server.manager.startAI('s', {}, { jobId }))
  t.match(peer.ask({ type: 'cancel', sessionId: 's' }), [{ type: 'cancelling', jobId: 'b' }])
  await turn()
  t.same(jobs.map(({ signal }) => signal.aborted), [false, true])
  const [error] = peer.ask({ type: 'cancel', sessionId: 'quiet' })
  t.match(error, { type: 'error', code: 'not_cancellable', sessionId: 'quiet' })
  t.notOk('jobId' in error!)
})

t.test('needs permission', async (t) => {
  t.test('is forbidden without authenticate and allowCancel', async (t) => {
    const server = createServer()
    const peer = await server.connect()
    const { signal } = server.manager.startAI('s', {}, { jobId: 'j' })
    t.match(peer.ask(cancel), [{ type: 'error', code: 'forbidden', request: 'cancel', sessionId: 's', jobId: 'j' }])
    await turn()
    t.equal(signal.aborted, false)
  })

  t.test('authorize is called with the action', async (t) => {
    const { hook, calls } = handHook<unknown[], boolean>()
    const server = createServer({ allowCancel: true, authorize: hook })
    const peer = await server.connect({ userId: 'u' })
    const { signal } = server.manager.startAI('s', {}, { jobId: 'j' })
    peer.send(cancel)
    peer.send({ type: 'cancel', sessionId: 's' })
    t.same(calls.map(({ args }) => args), [
      [{ userId: 'u' }, { type: 'cancel', sessionId: 's', jobId: 'j' }], [{ userId: 'u' }, { type: 'cancel', sessionId: 's' }]
    ])
    calls[0]!.answer(false)
    calls[1]!.fail(new Error('the database is away'))
    await turn()
    t.match(peer.take(), [{ code: 'forbidden', jobId: 'j' }, { code: 'unavailable' }])
    t.equal(signal.aborted, false)
    peer.send(cancel)
    calls[2]!.answer(true)
    await turn()
    t.match(peer.take(), [{ type: 'cancelling' }])
    t.equal(signal.aborted, true)
  })

  t.test('and needs valid ids', async (t) => {
    const server = createServer({ allowCancel: true })
    const peer = await server.connect()
    for (const message of [{}, { sessionId: '' }, { sessionId: 's', jobId: 5 }, { sessionId: 's', jobId: '' }]) {
      t.match(peer.ask({ type: 'cancel', ...message }), [{ type: 'error', code: 'invalid_session_id', message: /"jobId"/ }])
    }
  })
})

t.test('closing a tab cancels nothing', async (t) => {
  const server = createServer({ allowCancel: true })
  const peer = await server.connect({ sessionId: 's' })
  const { signal } = server.manager.startAI('s', {})
  peer.leave()
  await turn()
  t.equal(signal.aborted, false)
})

t.test('jobs of different sessions may have the same id', async (t) => {
  const server = createServer({ allowCancel: true })
  const peer = await server.connect()
  const mine = server.manager.startAI('s', {}, { jobId: 'j' })
  const theirs = server.manager.startAI('theirs', {}, { jobId: 'j' })
  t.match(peer.ask(cancel), [{ type: 'cancelling', sessionId: 's' }])
  await turn()
  t.same([mine.signal.aborted, theirs.signal.aborted], [true, false])
  await theirs.complete({})
  await mine.progress({})
  t.match(peer.ask(cancel), [{ type: 'cancelling' }], 'the end of one does not affect the other')
})

t.test('a job that was started twice has two handles, until it ends', async (t) => {
  const server = createServer({ allowCancel: true })
  const jobs = [1, 2].map(() => server.manager.startAI('s', {}, { jobId: 'j' }))
  t.equal((await jobs[1]!.started).dropped, 'started')
  t.equal(await server.manager.cancelAI('s', { jobId: 'j' }), true)
  await turn()
  t.same(jobs.map(({ signal }) => signal.aborted), [true, true])
  await jobs[1]!.complete({})
  t.equal(await server.manager.cancelAI('s', { jobId: 'j' }), false)
})

t.test('a job that ended otherwise, or could not start, has no handle', async (t) => {
  const server = createServer({ allowCancel: true, jobs: { stallAfterMs: 1_000 } })
  const { manager } = server
  const ways: Record<string, () => unknown> = {
    'told of the session': () => manager.notifyAIComplete('s', {}),
    'told of the job': () => manager.notifyAIError('s', { message: 'm', type: 't' }, { jobId: 'j' }),
    stalled: () => { server.clock.advance(1_000) }
  }
  for (const [way, end] of Object.entries(ways)) {
    const jobId = way === 'told of the job' ? 'j' : way
    const { started } = manager.startAI('s', {}, { jobId })
    await started
    await end()
    t.equal(await manager.cancelAI('s', { jobId }), false, way)
  }
  await t.rejects(manager.startAI('', {}, { jobId: 'j2' }).started, { code: 'AICW_ERR_INVALID_ID' })
  await t.rejects(manager.startAI('s', { n: 1n }, { jobId: 'j3' }).started, { code: 'AICW_ERR_NOT_SERIALIZABLE' })
  t.equal((await manager.startAI('s', {}, { jobId: 'j' }).started).dropped, 'ended')
  t.same(await Promise.all(['j2', 'j3', 'j'].map((jobId) => manager.cancelAI('s', { jobId }))), [false, false, false])

  const runs = manager.startAI('s', {}, { jobId: 'k' })
  const broken = manager.startAI('s', { n: 1n }, { jobId: 'k' })
  await t.rejects(broken.started)
  t.equal(await manager.cancelAI('s', { jobId: 'k' }), true, 'a failed start takes nobody else\'s ear')
  await turn()
  t.same([runs.signal.aborted, broken.signal.aborted], [true, false])
})

t.test('a start that fails when its job has ended already', async (t) => {
  const { manager } = createServer()
  const job = manager.startAI('s', {}, { jobId: 'j' })
  const broken = manager.startAI('s', { n: 1n }, { jobId: 'j' })
  void job.complete({})
  await t.rejects(broken.started)
  t.equal(await manager.cancelAI('s', { jobId: 'j' }), false)
})

t.test('a job whose end could not be sent can\'t be cancelled any more', async (t) => {
  const { manager } = createServer()
  const job = manager.startAI('s', {})
  await t.rejects(job.complete({ n: 1n }), { code: 'AICW_ERR_NOT_SERIALIZABLE' })
  t.equal(await manager.cancelAI('s'), false)
})

t.test('cancelAI', async (t) => {
  const { manager } = createServer()
  t.equal(await manager.cancelAI('s'), false)
  const job = manager.startAI('s', {})
  t.equal(await manager.cancelAI('s'), true)
  t.match(job.signal, { aborted: true, reason: { name: 'AbortError' } })
  await t.rejects(manager.cancelAI(''), { code: 'AICW_ERR_INVALID_ID' })
})

t.test('onCancel is called for jobs without a handle, and a synchronous result is sent at once', async (t) => {
  const asked: object[] = []
  const answers: Record<string, () => unknown> = {
    nothing: () => undefined, no: () => false, yes: () => true, throws: () => { throw new Error('no') }
  }
  const server = createServer({ allowCancel: true, onCancel: (job) => { asked.push(job); return answers[job.jobId]!() } })
  const peer = await server.connect()
  const verdicts = Object.keys(answers).map((jobId) => peer.ask({ type: 'cancel', sessionId: 's', jobId })[0]!)
  t.same(verdicts.map(({ type, code }) => (code ?? type) as string), ['cancelling', 'not_cancellable', 'cancelling', 'unavailable'])
  t.same(asked[0], { sessionId: 's', jobId: 'nothing' })
  t.same(server.logged.slice(1), ['error: onCancel failed'])
  server.manager.startAI('s', {}, { jobId: 'handled' })
  t.match(peer.ask({ type: 'cancel', sessionId: 's', jobId: 'handled' }), [{ type: 'cancelling' }])
  t.equal(asked.length, 4)
})

t.test('the reply waits for an asynchronous onCancel', async (t) => {
  const { hook, calls } = handHook<[{ sessionId: string, jobId: string }], unknown>()
  const server = createServer({ allowCancel: true, onCancel: hook, limits: { authTimeoutMs: 1_000 } })
  const peer = await server.connect()
  const jobIds = ['no', 'yes', 'nothing', 'rejects', 'never']
  for (const jobId of jobIds) t.same(peer.ask({ type: 'cancel', sessionId: 's', jobId }), [], 'not yet')
  calls[0]!.answer(false)
  calls[1]!.answer(true)
  calls[2]!.answer(undefined)
  calls[3]!.fail(new Error('the queue is away'))
  await turn()
  t.match(peer.take(), [
    { type: 'error', code: 'not_cancellable', sessionId: 's', jobId: 'no' },
    { type: 'cancelling', jobId: 'yes' },
    { type: 'cancelling', jobId: 'nothing' },
    { type: 'error', code: 'unavailable', jobId: 'rejects' }
  ])
  t.equal(server.clock.pending, 1, 'hooks that settled leave no timeout')
  server.clock.advance(1_000)
  await turn()
  t.match(peer.take(), [{ type: 'error', code: 'unavailable', sessionId: 's', jobId: 'never' }])
  t.same(server.logged.slice(1), ['error: onCancel failed', 'warn: onCancel did not settle in time'])
  calls[4]!.fail(new Error('too late to be heard'))
  await turn()
  t.same(peer.take(), [])
})

t.test('cancelAI resolves with the result of onCancel', async (t) => {
  const { hook, calls } = handHook<[{ sessionId: string, jobId: string }], unknown>()
  const server = createServer({ onCancel: hook })
  const cancelled = Promise.all(['yes', 'no', 'rejects'].map((jobId) => server.manager.cancelAI('s', { jobId })))
  calls[0]!.answer(true)
  calls[1]!.answer(false)
  calls[2]!.fail(new Error('the queue is away'))
  t.same(await cancelled, [true, false, false])
  t.same(server.logged, ['error: onCancel failed'], 'the error is logged')
})

t.test('a failure of the broker is answered with an error', async (t) => {
  const server = createFarServer({ allowCancel: true })
  const peer = await server.connect()
  peer.send(cancel)
  peer.send({ type: 'cancel', sessionId: 's' })
  t.same(server.broker.waiting, ['cancel', 'currentJob session:s'])
  server.broker.fail()
  await turn()
  t.match(peer.take(), [{ code: 'unavailable', jobId: 'j' }, { code: 'unavailable' }])
  t.ok(server.logged.includes('error: the broker failed to pass on a cancel'))
})

t.test('a disconnected client gets no reply', async (t) => {
  const server = createFarServer({ allowCancel: true })
  const peer = await server.connect()
  peer.send(cancel)
  peer.leave()
  server.broker.answer()
  await turn()
  t.same(peer.take(), [])
})
