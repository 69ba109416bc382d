import t from 'tap'
import { FakeTransport } from '../../support/fake-transport.js'
import { Reader } from '../../support/reader.js'
import { createServer } from '../../support/server.js'
import type { Message } from '../../support/ws-client.js'

t.test('a replay of any size does not make a slow consumer', async (t) => {
  const server = createServer()
  for (const jobId of ['a', 'b', 'c']) {
    await server.manager.notifyAIStart('s', {}, { jobId })
    await server.manager.notifyAIProgress('s', { delta: jobId.repeat(700_000) }, { jobId })
  }
  const transport = new FakeTransport()
  transport.stalled = true
  const peer = await server.connect({ sessionId: 's', transport })
  await server.manager.broadcastToSession('s', { type: 'note' })
  server.clock.tick()
  t.equal(transport.closedWith, undefined)
  while (peer.connection.subscriber.outbox.isBehind) transport.drain()
  transport.drain()
  const reader = new Reader()
  for (const text of transport.texts) reader.take(JSON.parse(text) as Message)
  t.same(['a', 'b', 'c'].map((jobId) => reader.text(jobId).length), [700_000, 700_000, 700_000])
  t.equal(reader.view('session:s').messages.length, 1)

  t.test('but live messages after it do', async (t) => {
    for (let n = 0; n < 3; n++) await server.manager.broadcastToSession('s', { type: 'note', text: 'x'.repeat(700_000) })
    server.clock.tick()
    t.match(transport.closedWith, { code: 4000 })
  })

  t.test('and so do repeated requests for it without reading', async (t) => {
    const greedy = await server.connect({ sessionId: 's', transport: Object.assign(new FakeTransport(), { stalled: true }) })
    for (let n = 0; n < 3; n++) greedy.send({ type: 'subscribe', sessionId: 's' })
    server.clock.tick()
    t.equal(greedy.transport.closedWith, undefined)
    t.ok(server.pool.queuedBytes < 20_000, `${server.pool.queuedBytes} bytes wait: what was not made yet costs nothing`)
    // At the maximum rate of requests and of replays.
    for (let n = 0; n < 2_000 && greedy.transport.closedWith === undefined; n++) {
      server.clock.advance(1_000)
      greedy.send({ type: 'subscribe', sessionId: 's' })
      server.clock.tick()
    }
    t.match(greedy.transport.closedWith, { code: 4000 })
  })
})

t.test('a client is told if more streamed jobs ended during its absence than are remembered', async (t) => {
  const server = createServer()
  const first = await server.connect({ sessionId: 's' })
  const { epoch } = JSON.parse(first.transport.texts[0]!) as Message & { epoch: string }
  first.leave(1006)
  for (let n = 1; n <= 33; n++) {
    await server.manager.notifyAIProgress('s', { delta: 'text' }, { jobId: `${n}` })
    await server.manager.notifyAIProgress('s', { chunksReceived: 1 }, { jobId: `${n}` })
    await server.manager.notifyAIComplete('s', {}, { jobId: `${n}` })
  }
  const greet = async (seq: number): Promise<Message[]> => {
    const peer = await server.connect({ sessionId: 's', request: { since: { epoch, seq }, have: new Map() } })
    return peer.transport.texts.map((text) => JSON.parse(text) as Message)
  }
  const [expired, ...present] = await greet(0)
  t.match(expired, { recovered: false, reason: 'expired', replaying: 2 })
  t.match(present, [{ type: 'ai_progress', jobId: '33', progress: { delta: 'text' } }, { type: 'ai_complete', jobId: '33' }])
  const [recovered, ...missed] = await greet(1)
  t.match(recovered, { recovered: true, replaying: 64 })
  t.equal(missed.filter(({ type }) => type === 'ai_progress').length, 32, 'each end follows its text')
})

t.test('jobs without text are forgotten without loss', async (t) => {
  const server = createServer()
  const { epoch } = await server.manager.notifyAIComplete('s', {}, { jobId: '0' }) as { epoch: string }
  for (let n = 1; n <= 40; n++) await server.manager.notifyAIComplete('s', {}, { jobId: `${n}` })
  const peer = await server.connect({ sessionId: 's', request: { since: { epoch, seq: 1 }, have: new Map() } })
  t.match(JSON.parse(peer.transport.texts[0]!), { recovered: true, replaying: 40 })
})
