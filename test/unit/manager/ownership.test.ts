import t from 'tap'
import type { PublishOptions } from '../../../lib/streams/broker.js'
import { HandBroker, turn } from '../../support/hand-broker.js'
import { createServer, TestServer } from '../../support/server.js'

/** A remote broker whose store can lose history, and that does as the test says. */
class LosableBroker extends HandBroker {
  readonly canLoseHistory = true
}

function losableServer (): TestServer<LosableBroker> {
  return new TestServer((clock) => new LosableBroker(clock))
}

t.test('a closed server runs, gives up and publishes no job', async (t) => {
  const server = createServer()
  const job = server.manager.startAI('s', {}, { jobId: 'j' })
  await server.node.reseed()
  await server.manager.close()
  t.equal(await job.transfer(), false)
  t.equal(await server.manager.adoptAI('s', 'j'), undefined)
  t.equal(await server.manager.cancelAI('s'), false)
  await server.node.reseed()
  t.same(server.logged.filter((entry) => entry.includes('published again')), [])
})

t.test('a job that was transferred is not ended by close, but by the stall timer if nobody adopts it', async (t) => {
  const server = createServer({ jobs: { stallAfterMs: 1_000 } })
  const peer = await server.connect({ sessionId: 's' })
  for (const jobId of ['kept', 'given up', 'reported again']) await server.manager.startAI('s', {}, { jobId }).started
  const [, givenUp, again] = await Promise.all(['kept', 'given up', 'reported again'].map((jobId) => server.manager.adoptAI('s', jobId)))
  t.equal(await givenUp!.transfer(), true)
  t.equal(await again!.transfer(), true)
  void again!.progress({})
  givenUp!.keepAlive()
  peer.take()
  await server.manager.close()
  t.match(peer.take(), [{ jobId: 'kept', error: { type: 'interrupted' } }, { jobId: 'reported again', error: { type: 'interrupted' } }])
  t.equal(peer.transport.texts.filter((text) => text.includes('interrupted')).length, 2)

  const other = createServer({ jobs: { stallAfterMs: 1_000 } })
  const reader = await other.connect({ sessionId: 's' })
  const job = other.manager.startAI('s', {}, { jobId: 'j' })
  await job.started
  other.clock.advance(900)
  await job.transfer()
  other.clock.advance(999)
  t.match(reader.take(), [{ type: 'ai_start' }])
  other.clock.advance(1)
  t.match(reader.take(), [{ jobId: 'j', error: { type: 'stalled' } }])
})

t.test('a job that is unknown to the watchdog can be transferred, too', async (t) => {
  const server = createServer()
  const job = server.manager.startAI('s', {}, { jobId: 'j' })
  server.node.disowned('session:s', 'j')
  t.equal(await job.transfer(), true)
})

t.test('a cancel reaches the process that has adopted a job, and not the one that has given it up', async (t) => {
  const server = createServer({ allowCancel: true })
  const first = server.manager.startAI('s', {}, { jobId: 'j' })
  await first.transfer()
  t.equal(await server.manager.cancelAI('s'), false, 'nobody runs it')
  const adopted = await server.manager.adoptAI('s', 'j')
  t.equal(await server.manager.cancelAI('s'), true)
  await turn()
  t.same([first.signal.aborted, adopted!.signal.aborted], [false, true])
})

t.test('the handles of the newest 1,000 jobs that other nodes run are kept', async (t) => {
  const server = createServer()
  const jobs = Array.from({ length: 1_002 }, (_, at) => server.manager.startAI('s', {}, { jobId: `j${at}` }))
  for (const { jobId } of jobs.slice(0, 1_001)) server.node.disowned('session:s', jobId)
  server.node.disowned('session:s', 'unknown')
  // The handle of this one was replaced since, so it is not forgotten with the old one.
  server.manager.startAI('s', {}, { jobId: 'j1' })
  server.node.disowned('session:s', 'j1001')
  const results = await Promise.all(['j0', 'j1', 'j2', 'j1001'].map((jobId) => server.manager.cancelAI('s', { jobId })))
  t.same(results, [false, true, true, true])
})

t.test('a job whose node is gone ends as stalled', async (t) => {
  const server = createServer()
  const peer = await server.connect({ sessionId: 's' })
  server.manager.startAI('s', {}, { jobId: 'j' })
  peer.take()
  // The memory broker knows no other node.
  server.node.orphaned('session:s', 'j', 'another one')
  t.match(peer.take(), [])
  t.match(server.logged.slice(-2), [/warn: no node runs a job any more/, /info: a notification was dropped/])
  server.node.orphaned('session:s', 'unknown', '0 ')
  t.match(peer.take(), [{ jobId: 'unknown', error: { type: 'stalled' } }])
})

t.test('the jobs of a node are published again in their order, and a failure is logged', async (t) => {
  const server = losableServer()
  const published: PublishOptions[] = []
  const publish = server.broker.publish.bind(server.broker)
  t.capture(server.broker, 'publish', (...args: Parameters<typeof publish>) => {
    published.push(args[2])
    return publish(...args)
  })
  await server.node.reseed()
  t.same(server.logged, [], 'there are none')
  void server.manager.notifyAIStart('s', {})
  server.broker.answer()
  await turn()
  t.match(published[0]?.job?.jobId, /./, 'the id of the job is known before the broker answers')
  void server.manager.notifyAIProgress('s', { delta: 'text' }, { jobId: published[0]!.job!.jobId! })
  server.broker.answer()
  await turn()
  published.length = 0

  const done = server.node.reseed()
  while (published.length < 2) {
    server.broker.answer()
    await turn()
  }
  server.broker.answer()
  await done
  t.match(published, [{ job: { event: 'start', repeated: true } }, { job: { event: 'progress', repeated: true }, delta: 'text', from: 0 }])
  t.match(server.log.entries.at(-1), { level: 'info', fields: { sessions: 1 }, message: /was published again/ })

  const failed = server.node.reseed()
  server.broker.fail()
  await failed
  t.match(server.log.entries.at(-1), { level: 'error', message: /could not be published again/, fields: { err: { message: 'the broker is away' } } })
})

t.test('a job that another node owns is not published again', async (t) => {
  const server = losableServer()
  void server.manager.notifyAIStart('s', {}, { jobId: 'j' })
  void server.manager.notifyAIProgress('s', {}, { jobId: 'j' })
  server.broker.answer()
  await turn()
  let calls = 0
  t.capture(server.broker, 'publish', () => {
    calls++
    return Promise.resolve({ epoch: 'e', seq: 1, recipients: 0, dropped: 'owned' as const })
  })
  await server.node.reseed()
  t.equal(calls, 2)
  await server.node.reseed()
  t.equal(calls, 2, 'and the job is forgotten')
})

t.test('a report that begins after a gap is published again with the missing text', async (t) => {
  const server = losableServer()
  const published: PublishOptions[] = []
  void server.manager.notifyAIStart('s', {}, { jobId: 'j' })
  server.broker.answer()
  await turn()
  t.capture(server.broker, 'publish', (...[, , options]: Parameters<HandBroker['publish']>) => {
    published.push(options)
    const isGap = options.from !== 0
    return Promise.resolve({ epoch: 'e', seq: 1, recipients: 1, ...(isGap ? { dropped: 'gap' as const, textEnd: 0 } : { jobId: 'j', textEnd: options.delta!.length }) })
  })
  await server.manager.notifyAIProgress('s', { delta: 'one ' }, { jobId: 'j' })
  t.match(await server.manager.notifyAIProgress('s', { delta: 'two' }, { jobId: 'j' }), { jobId: 'j', dropped: undefined })
  t.match(published.map(({ from, delta }) => [from, delta]), [[0, 'one '], [4, 'two'], [0, 'one two']])
})
