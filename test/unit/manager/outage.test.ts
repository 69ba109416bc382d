import t from 'tap'
import { HandBroker, turn } from '../../support/hand-broker.js'
import { TestServer } from '../../support/server.js'

/** A remote broker whose store can lose history. */
class LosableBroker extends HandBroker {
  readonly canLoseHistory = true
}

const PUBLISH = 'publish session:s'

/** A server with a subscriber of the session `s`, and a job that the broker has confirmed. */
async function startJob () {
  const server = new TestServer((clock) => new LosableBroker(clock), { jobs: { stallAfterMs: 1_000 } })
  const connecting = server.connect({ sessionId: 's' })
  server.broker.answer()
  const peer = await connecting
  const job = server.manager.startAI('s', {}, { jobId: 'j' })
  server.broker.answer(PUBLISH)
  await job.started
  peer.take()
  /** Lets the broker fail the oldest publication, and returns what the subscriber gets. */
  const fail = async (): Promise<unknown[]> => {
    server.broker.fail(PUBLISH)
    await turn()
    return peer.take()
  }
  return { server, peer, job, fail }
}

t.test('a rejected progress is delivered on this node, and logged once for all that follow', async (t) => {
  const { server, peer, job, fail } = await startJob()
  const receipts = ['a', 'b'].map((delta) => job.progress({ delta }))
  t.match(await fail(), [{ type: 'ai_progress', jobId: 'j', progress: { delta: 'ab', offset: 0 } }], 'all text that there is')
  t.match(await fail(), [{ type: 'ai_progress', jobId: 'j', progress: { delta: undefined } }])
  t.same(await Promise.all(receipts), [{ recipients: 1, local: true, jobId: 'j' }, { recipients: 1, local: true, jobId: 'j' }])
  const warnings = (): number => server.log.entries.filter(({ message }) => message === 'the broker did not accept the progress of a job: only clients of this node get it').length
  t.equal(warnings(), 1)
  t.equal(server.manager.getMetrics().failed, 0)
  void job.progress({ delta: 'c' })
  // It is refused as a gap, and published again with the text before it.
  for (let answer = 0; answer < 2; answer++) {
    server.broker.answer(PUBLISH)
    await turn()
  }
  t.match(peer.take(), [{ type: 'ai_progress', progress: { delta: 'abc', offset: 0 } }])
  void job.progress({ delta: 'd' })
  await fail()
  t.equal(warnings(), 2, 'it was accepted in between')
})

t.test('an end that waits is delivered on this node at once, and again with its number', async (t) => {
  const { server, peer, job, fail } = await startJob()
  void job.progress({ delta: 'text' })
  await fail()
  const end = job.complete({ ok: true })
  // First the text that the broker may lack.
  t.same(server.broker.waiting, [PUBLISH])
  t.match(await fail(), [{ type: 'ai_complete', jobId: 'j', result: { ok: true }, seq: undefined }])
  server.clock.advance(50)
  t.same(await fail(), [], 'only once')
  server.clock.advance(100)
  server.broker.answer(PUBLISH)
  await turn()
  t.match(peer.take(), [{ type: 'ai_progress', progress: { delta: 'text', offset: 0 } }])
  server.broker.answer(PUBLISH)
  t.match(await end, { seq: 2, jobId: 'j' })
  t.match(peer.take(), [{ type: 'ai_complete', jobId: 'j', seq: 2 }])
})

t.test('an end that is only presumed, or of a job that this node does not run, is not delivered before it is confirmed', async (t) => {
  const { server, fail } = await startJob()
  server.clock.advance(1_000)
  t.same(await fail(), [], 'stalled')
  void server.manager.notifyAIComplete('s', {}, { jobId: 'other' })
  t.same(await fail(), [])
})

t.test('while the broker is unavailable, the first failure is logged, and the others are counted', async (t) => {
  const { server, job, fail } = await startJob()
  server.node.statusChanged({ state: 'unavailable', reason: 'x' })
  void job.progress({ delta: 'a' })
  await fail()
  const errors = (): number => server.log.entries.filter(({ level }) => level === 'error').length
  const warnings = (): unknown[] => server.log.entries.filter(({ level }) => level === 'warn').map(({ message }) => message)
  t.same(warnings(), ['the status of the broker has changed'])
  for (let n = 0; n < 3; n++) {
    server.manager.broadcastToSession('s', { type: 'note' }).catch(() => undefined)
    await fail()
  }
  t.same([errors(), server.manager.getMetrics().failed], [1, 3])
  server.node.statusChanged({ state: 'degraded', reason: 'y' })
  t.match(server.log.entries.at(-1), { level: 'warn', fields: { state: 'degraded', failed: 3 } })
  for (let n = 0; n < 2; n++) {
    server.manager.broadcastToSession('s', { type: 'note' }).catch(() => undefined)
    await fail()
  }
  t.equal(errors(), 3)
})

t.test('a job whose start was rejected goes on: this node\'s clients see it, a cancel reaches it, and its start and text come before its end', async (t) => {
  const server = new TestServer((clock) => new LosableBroker(clock))
  const connecting = server.connect({ sessionId: 's' })
  server.broker.answer()
  const peer = await connecting
  peer.take()
  const job = server.manager.startAI('s', { prompt: 'x' }, { jobId: 'j' })
  const rejected = t.rejects(job.started)
  server.broker.fail(PUBLISH)
  await rejected
  t.match(peer.take(), [{ type: 'ai_start', jobId: 'j', task: { prompt: 'x' }, seq: undefined }])
  const progress = job.progress({ delta: 'Once ' })
  // The start again.
  server.broker.fail(PUBLISH)
  t.match(await progress, { local: true, recipients: 1 })
  t.match(peer.take(), [{ type: 'ai_progress', jobId: 'j', progress: { delta: 'Once ', offset: 0 } }])
  const next = job.progress({ delta: 'upon' })
  for (let answer = 0; answer < 2; answer++) {
    server.broker.answer(PUBLISH)
    await turn()
  }
  t.match(await next, { jobId: 'j', local: undefined })
  t.match(peer.take(), [{ type: 'ai_start', seq: 1 }, { type: 'ai_progress', progress: { delta: 'Once upon', offset: 0 } }])
  const cancelled = server.manager.cancelAI('s', { jobId: 'j' })
  server.broker.answer()
  t.equal(await cancelled, true)
  t.equal(job.signal.aborted, true)
})

t.test('a start that the broker has executed although it was rejected is not published twice', async (t) => {
  const server = new TestServer((clock) => new LosableBroker(clock))
  const connecting = server.connect({ sessionId: 's' })
  server.broker.answer()
  const peer = await connecting
  peer.take()
  const job = server.manager.startAI('s', {}, { jobId: 'j' })
  const rejected = t.rejects(job.started)
  server.broker.loseAnswer(PUBLISH)
  await rejected
  peer.take()
  const end = job.complete({})
  for (let answer = 0; answer < 2; answer++) {
    server.broker.answer(PUBLISH)
    await turn()
  }
  t.match(await end, { seq: 2 })
  t.match(peer.take(), [{ type: 'ai_complete', seq: 2 }])
})

t.test('a job whose start was rejected may stream no text', async (t) => {
  const server = new TestServer((clock) => new LosableBroker(clock))
  const connecting = server.connect({ sessionId: 's' })
  server.broker.answer()
  const peer = await connecting
  const job = server.manager.startAI('s', {}, { jobId: 'j' })
  const rejected = t.rejects(job.started)
  server.broker.fail(PUBLISH)
  await rejected
  peer.take()
  void job.progress({ step: 1 })
  for (let answer = 0; answer < 2; answer++) {
    server.broker.answer(PUBLISH)
    await turn()
  }
  t.match(peer.take(), [{ type: 'ai_start', seq: 1 }, { type: 'ai_progress', progress: { step: 1 } }])
})
