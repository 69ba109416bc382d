import t from 'tap'
import type { Receipt } from '../../../lib/manager/notifier.js'
import { turn } from '../../support/hand-broker.js'
import { createFarServer, type Peer, type TestServer } from '../../support/server.js'
import type { HandBroker } from '../../support/hand-broker.js'

const PUBLISH = 'publish session:s'

type Far = TestServer<HandBroker>

/** A server with a subscriber of the session `s`, and a broker that answers when the test says so. */
async function farServer (options: Parameters<typeof createFarServer>[0] = {}): Promise<{ server: Far, peer: Peer }> {
  const server = createFarServer(options)
  return { server, peer: await server.connect({ sessionId: 's' }) }
}

/** Lets the broker answer, and returns what the subscriber got. */
async function answered (server: Far, peer: Peer, which: 'one' | 'all' = 'one'): Promise<unknown[]> {
  server.broker.answer(which === 'one' ? PUBLISH : undefined)
  await turn()
  return peer.take()
}

t.test('an end whose outcome is unknown is published again until it is known, and accepted once', async (t) => {
  for (const how of ['fail', 'loseAnswer'] as const) {
    const { server, peer } = await farServer()
    const receipt = server.manager.notifyAIComplete('s', { text: 'done' }, { jobId: 'j' })
    for (const delayMs of [50, 100, 200, 400, 800, 1_000, 1_000]) {
      server.broker[how](PUBLISH)
      await turn()
      server.clock.advance(delayMs - 1)
      t.same(server.broker.waiting, [], `not before ${delayMs} ms`)
      server.clock.advance(1)
      t.same(server.broker.waiting, [PUBLISH])
    }
    server.broker.answer(PUBLISH)
    t.match(await receipt, { seq: 1, recipients: 1, jobId: 'j' }, how)
    t.match(peer.take(), [{ type: 'ai_complete', jobId: 'j', seq: 1 }], 'the subscriber gets it once')
    server.clock.advance(60_000)
    t.same(server.broker.waiting, [], 'and it is not published again')
    t.equal(server.manager.getMetrics().failed, 0)
  }
})

t.test('a broker that throws is asked again, too', async (t) => {
  const { server, peer } = await farServer()
  t.capture(server.broker, 'publish', () => { throw new Error('thrown') })
  const receipt = server.manager.notifyAIComplete('s', {}, { jobId: 'j' })
  await turn()
  delete (server.broker as { publish?: unknown }).publish
  server.clock.advance(50)
  t.match(await answered(server, peer), [{ type: 'ai_complete', jobId: 'j' }])
  t.match(await receipt, { seq: 1 })
})

t.test('a receipt is pending after 5 seconds, and the end still arrives', async (t) => {
  const { server, peer } = await farServer()
  let receipt: Receipt | undefined
  void server.manager.notifyAIComplete('s', {}, { jobId: 'j' }).then((settled) => { receipt = settled })
  server.clock.advance(4_999)
  await turn()
  t.equal(receipt, undefined)
  server.clock.advance(1)
  await turn()
  t.same(receipt, { recipients: 0, pending: true, jobId: 'j' })
  server.clock.advance(50)
  t.same(server.broker.waiting, [PUBLISH, PUBLISH], 'an attempt without an answer is repeated')
  // The first attempt arrives after all, then the second.
  t.match(await answered(server, peer), [{ type: 'ai_complete', jobId: 'j', seq: 1 }])
  t.same(await answered(server, peer), [])
  server.clock.advance(60_000)
  t.same(server.broker.waiting, [])
  t.match(server.logged.slice(-1), [/info: all ends of jobs that were waiting for the broker are published/])
})

t.test('an attempt that fails after its timeout changes nothing', async (t) => {
  const { server, peer } = await farServer()
  void server.manager.notifyAIComplete('s', {}, { jobId: 'j' })
  server.clock.advance(5_000)
  await turn()
  server.broker.fail(PUBLISH)
  await turn()
  server.clock.advance(50)
  t.same(server.broker.waiting, [PUBLISH])
  t.match(await answered(server, peer), [{ type: 'ai_complete', jobId: 'j' }])
  server.clock.advance(60_000)
  t.same(server.broker.waiting, [])
})

t.test('a presumed end and an error are published again, too', async (t) => {
  const { server, peer } = await farServer({ jobs: { stallAfterMs: 1_000 } })
  server.manager.startAI('s', {}, { jobId: 'stalls' })
  const failing = server.manager.startAI('s', {}, { jobId: 'fails' })
  await answered(server, peer, 'all')
  void failing.error({ message: 'm', type: 't' })
  server.clock.advance(1_000)
  server.broker.fail()
  await turn()
  server.clock.advance(50)
  t.match(await answered(server, peer, 'all'), [{ type: 'ai_error', jobId: 'fails' }])
  t.match(await answered(server, peer, 'all'), [{ type: 'ai_error', jobId: 'stalls', error: { type: 'stalled' } }], 'once one is accepted, the others follow')
})

t.test('during an outage one end is tried at a time, and after it all follow in their order', async (t) => {
  const { server, peer } = await farServer()
  const receipts = ['a', 'b', 'c', 'd'].map((jobId) => server.manager.notifyAIComplete('s', {}, { jobId }))
  server.broker.fail()
  await turn()
  for (const delayMs of [50, 100, 200]) {
    server.clock.advance(delayMs)
    t.equal(server.broker.waiting.length, 1)
    server.broker.fail()
    await turn()
  }
  server.clock.advance(400)
  t.match(await answered(server, peer), [{ jobId: 'd' }], 'the end that was tried least recently')
  t.equal(server.broker.waiting.length, 3)
  t.match(await answered(server, peer, 'all'), [{ jobId: 'a' }, { jobId: 'b' }, { jobId: 'c' }])
  t.match(await Promise.all(receipts), ['a', 'b', 'c', 'd'].map((jobId) => ({ jobId })))
  t.match(server.logged.filter((entry) => /confirm|waiting/.test(entry)), [/^warn: .*did not confirm/, /^info: all ends/], 'an outage is logged once, and its end')
})

t.test('an end that the broker never accepts does not stop the others', async (t) => {
  const { server, peer } = await farServer()
  void server.manager.notifyAIComplete('s', {}, { jobId: 'poison' })
  server.broker.fail()
  await turn()
  void server.manager.notifyAIComplete('s', {}, { jobId: 'other' })
  server.broker.fail()
  await turn()
  server.clock.advance(50)
  server.broker.fail()
  await turn()
  server.clock.advance(100)
  t.match(await answered(server, peer), [{ jobId: 'other' }])
})

t.test('an end without a job id is repeated for the job that was running then', async (t) => {
  const { server, peer } = await farServer()
  void server.manager.notifyAIStart('s', { name: 'first' })
  const [first] = await answered(server, peer) as Array<{ jobId: string }>
  void server.manager.notifyAIComplete('s', {})
  server.broker.fail(PUBLISH)
  void server.manager.notifyAIStart('s', { name: 'second' })
  t.match(await answered(server, peer), [{ type: 'ai_start' }])
  server.clock.advance(50)
  t.match(await answered(server, peer), [{ type: 'ai_complete', jobId: first!.jobId }], 'not for the newest one')
})

t.test('two ends without a job id that have to be repeated are both delivered', async (t) => {
  const { server, peer } = await farServer()
  void server.manager.notifyAIStart('s', {})
  const [started] = await answered(server, peer) as Array<{ jobId: string }>
  const receipts = [1, 2].map((chunks) => server.manager.notifyAIComplete('s', { chunks }))
  server.broker.fail()
  await turn()
  server.clock.advance(50)
  t.match(await answered(server, peer), [{ jobId: started!.jobId, result: { chunks: 1 } }])
  t.same(await answered(server, peer), [], 'that job has ended')
  t.match(await answered(server, peer), [{ type: 'ai_complete', result: { chunks: 2 } }], 'a result without a job id is never dropped')
  const [one, two] = await Promise.all(receipts)
  t.match([one!.dropped, two!.dropped], [undefined, undefined])
  t.not(one!.jobId, two!.jobId)
})

t.test('a job that reports again while its stall is not published does not end as stalled', async (t) => {
  const { server, peer } = await farServer({ jobs: { stallAfterMs: 1_000 } })
  const job = server.manager.startAI('s', {}, { jobId: 'j' })
  await answered(server, peer)
  server.clock.advance(1_000)
  server.broker.fail(PUBLISH)
  await turn()
  void job.progress({ chunksReceived: 1 })
  t.match(await answered(server, peer), [{ type: 'ai_progress' }])
  server.clock.advance(50)
  t.same(server.broker.waiting, [])
  void job.complete({})
  t.match(await answered(server, peer), [{ type: 'ai_complete' }])
})

t.test('an end that is no longer needed does not stop those behind it', async (t) => {
  const { server, peer } = await farServer({ jobs: { stallAfterMs: 1_000 } })
  const job = server.manager.startAI('s', {}, { jobId: 'j' })
  await answered(server, peer)
  server.clock.advance(1_000)
  server.broker.fail(PUBLISH)
  await turn()
  void server.manager.notifyAIComplete('s', {}, { jobId: 'behind it' })
  server.broker.fail(PUBLISH)
  await turn()
  void job.progress({ chunksReceived: 1 })
  await answered(server, peer)
  server.clock.advance(50)
  t.match(await answered(server, peer), [{ type: 'ai_complete', jobId: 'behind it' }])
})

t.test('at most 32 ends are under way at the same time', async (t) => {
  const { server, peer } = await farServer()
  const receipts = Array.from({ length: 100 }, (_, at) => server.manager.notifyAIComplete('s', {}, { jobId: String(at) }))
  server.broker.fail()
  await turn()
  server.clock.advance(50)
  let delivered = 0
  while (server.broker.waiting.length > 0) {
    t.ok(server.broker.waiting.length <= 32, `${server.broker.waiting.length} are under way`)
    delivered += (await answered(server, peer)).length
  }
  t.equal(delivered, 100)
  t.equal(new Set((await Promise.all(receipts)).map(({ seq }) => seq)).size, 100)
})

t.test('ends are repeated at once when the broker is ready again', async (t) => {
  const { server, peer } = await farServer()
  void server.manager.notifyAIComplete('s', {}, { jobId: 'j' })
  for (const delayMs of [50, 100, 200, 400, 800]) {
    server.broker.fail(PUBLISH)
    await turn()
    server.clock.advance(delayMs)
  }
  server.broker.fail(PUBLISH)
  await turn()
  server.node.statusChanged({ state: 'unavailable', reason: 'the connection is lost' })
  t.same(server.broker.waiting, [])
  server.node.statusChanged({ state: 'ready' })
  t.match(await answered(server, peer), [{ type: 'ai_complete', jobId: 'j' }])
  t.match(server.log.entries.filter(({ message }) => message === 'the status of the broker has changed'), [
    { level: 'warn', fields: { state: 'unavailable', reason: 'the connection is lost' } }, { level: 'info', fields: { state: 'ready' } }
  ])
})

t.test('an end that is under way is not published a second time when others may follow', async (t) => {
  const { server, peer } = await farServer()
  for (const jobId of ['a', 'b']) void server.manager.notifyAIComplete('s', {}, { jobId })
  server.broker.fail()
  await turn()
  server.clock.advance(50)
  server.node.statusChanged({ state: 'ready' })
  t.equal(server.broker.waiting.length, 2, 'one attempt for each')
  const [ofB] = server.broker.calls.splice(1)
  ofB!.answer()
  await turn()
  t.match(peer.take(), [{ jobId: 'b' }])
  t.equal(server.broker.waiting.length, 1)
  t.match(await answered(server, peer), [{ jobId: 'a' }])
  t.equal(server.broker.waiting.length, 0)
})

t.test('more than 64 MiB of ends are refused while the broker does not confirm them', async (t) => {
  const { server } = await farServer()
  const text = 'x'.repeat(8 * 1024 * 1024)
  const receipts = ['a', 'b', 'c', 'd'].map((jobId) => server.manager.notifyAIComplete('s', { text }, { jobId }))
  server.broker.fail()
  await t.rejects(receipts[3]!, { message: 'the broker is away' })
  t.equal(server.manager.getMetrics().failed, 1)
})

t.test('close waits for the ends, and then gives up', async (t) => {
  for (const isInTime of [true, false]) {
    const { server, peer } = await farServer({ closeTimeoutMs: 2_000 })
    const receipt = server.manager.notifyAIComplete('s', {}, { jobId: 'j' })
    server.broker.fail()
    await turn()
    let isClosed = false
    const closed = server.manager.close().then(() => { isClosed = true })
    await turn()
    server.clock.advance(50)
    t.equal(isClosed, false)
    t.same(server.broker.waiting, [PUBLISH])
    if (isInTime) {
      t.match(await answered(server, peer), [{ type: 'ai_complete' }])
      t.match(await receipt, { seq: 1 })
    } else {
      server.broker.fail()
      const rejected = t.rejects(receipt, { message: /closed before the outcome/ })
      for (let ms = 0; ms < 2_000; ms += 50) {
        server.clock.advance(50)
        server.broker.fail()
        await turn()
      }
      await rejected
    }
    await closed
    server.clock.advance(60_000)
    t.same(server.broker.waiting, [])
  }
})

t.test('an end that is pending when the server closes is logged as failed', async (t) => {
  const { server } = await farServer({ closeTimeoutMs: 1_000 })
  const receipt = server.manager.notifyAIComplete('s', {}, { jobId: 'j' })
  server.clock.advance(5_000)
  t.match(await receipt, { pending: true })
  const closed = server.manager.close()
  for (let ms = 0; ms < 1_000; ms += 100) {
    server.clock.advance(100)
    await turn()
  }
  await closed
  await turn()
  t.match(server.log.entries.filter(({ level }) => level === 'error'), [{ message: 'a notification failed', fields: { what: 'end' } }])
  t.equal(server.manager.getMetrics().failed, 1)
})
