import t from 'tap'
import { FakeTransport } from '../../support/fake-transport.js'
import { turn } from '../../support/hand-broker.js'
import { press, PRESSED_BYTES } from '../../support/press.js'
import { Reader } from '../../support/reader.js'
import { createFarServer, createServer } from '../../support/server.js'
import type { Message } from '../../support/ws-client.js'

function types (messages: readonly Message[]): string[] {
  return messages.map(({ type }) => type)
}

t.test('cancel against complete', async (t) => {
  t.test('complete first: the job can\'t be cancelled, and its signal does not abort', async (t) => {
    const server = createServer({ allowCancel: true })
    const peer = await server.connect({ sessionId: 's' })
    const job = server.manager.startAI('s', {}, { jobId: 'j' })
    void job.complete({})
    t.match(peer.ask({ type: 'cancel', sessionId: 's', jobId: 'j' }), [
      { type: 'ai_start' }, { type: 'ai_complete', jobId: 'j' }, { type: 'error', code: 'not_cancellable', jobId: 'j' }
    ])
    await turn()
    t.equal(job.signal.aborted, false)
  })

  t.test('cancel first, but the job completes before its signal aborts: only the first end counts', async (t) => {
    const server = createServer({ allowCancel: true })
    const peer = await server.connect({ sessionId: 's' })
    const job = server.manager.startAI('s', {}, { jobId: 'j' })
    job.signal.addEventListener('abort', () => { void job.error({ message: 'cancelled', type: 'cancelled' }) })
    peer.send({ type: 'cancel', sessionId: 's', jobId: 'j' })
    const completed = job.complete({})
    t.match(peer.take(), [{ type: 'ai_start' }, { type: 'cancelling', jobId: 'j' }, { type: 'ai_complete' }])
    await turn()
    t.notOk((await completed).dropped)
    t.strictSame(peer.take(), [], 'the later end is dropped')
    t.ok(server.logged.includes('info: a notification was dropped'))
  })

  t.test('a complete in flight: the broker drops the end of the cancel', async (t) => {
    const server = createFarServer({ allowCancel: true })
    const peer = await server.connect({ sessionId: 's' })
    const job = server.manager.startAI('s', {}, { jobId: 'j' })
    server.broker.answer()
    await turn()
    const completed = job.complete({})
    const failed = job.error({ message: 'cancelled', type: 'cancelled' })
    server.broker.answer()
    t.notOk((await completed).dropped)
    t.equal((await failed).dropped, 'ended')
    t.strictSame(types(peer.take()), ['ai_start', 'ai_complete'])
  })
})

t.test('stall against a last chunk', async (t) => {
  t.test('the chunk comes first: the job continues', async (t) => {
    const server = createServer({ jobs: { stallAfterMs: 1_000 } })
    const peer = await server.connect({ sessionId: 's' })
    const job = server.manager.startAI('s', {})
    await job.started
    server.clock.advance(999)
    await job.progress({ chunksReceived: 1 })
    server.clock.advance(999)
    t.strictSame(types(peer.take()), ['ai_start', 'ai_progress'])
    server.clock.advance(1)
    t.match(peer.take(), [{ type: 'ai_error', error: { type: 'stalled' } }])
  })

  t.test('the stall comes first: the chunk\'s progress is dropped, its text is kept, and the real end replaces the presumed one', async (t) => {
    const server = createServer({ jobs: { stallAfterMs: 1_000 } })
    const peer = await server.connect({ sessionId: 's' })
    const job = server.manager.startAI('s', {})
    await job.progress({ chunksReceived: 1, delta: 'Hello' })
    server.clock.advance(1_000)
    t.match(peer.take(), [{ type: 'ai_start' }, { type: 'ai_progress' }, { type: 'ai_error', error: { type: 'stalled' } }])
    t.equal((await job.progress({ chunksReceived: 2, delta: ', wor' })).dropped, 'ended')
    t.equal((await job.progress({ chunksReceived: 3, delta: 'ld' })).dropped, 'ended')
    t.strictSame(peer.take(), [])
    const late = await server.connect({ sessionId: 's' })
    t.notOk((await job.complete({ chunks: 3 })).dropped)
    t.match(peer.take(), [
      { type: 'ai_progress', progress: { delta: ', world', offset: 5 } }, { type: 'ai_complete', supersedes: true, seq: 3 }
    ])
    const reader = new Reader()
    server.clock.tick()
    for (const text of late.transport.texts) reader.take(JSON.parse(text) as Message)
    t.equal(reader.text(job.jobId), 'Hello, world')
  })

  t.test('all of the text comes after the stall', async (t) => {
    const server = createServer({ jobs: { stallAfterMs: 1_000 } })
    const peer = await server.connect({ sessionId: 's' })
    const job = server.manager.startAI('s', {})
    await job.started
    server.clock.advance(1_000)
    await job.progress({ chunksReceived: 1, delta: 'It took its time' })
    t.match((await server.connect({ sessionId: 's' })).transport.texts.map((text) => JSON.parse(text) as Message), [
      { type: 'connection' }, { type: 'ai_progress', progress: { delta: 'It took its time', offset: 0 } }, { type: 'ai_error' }
    ], 'the end is the last message of a late subscriber')
    await job.complete({})
    t.match(peer.take(), [
      { type: 'ai_start' }, { type: 'ai_error' },
      { type: 'ai_progress', progress: { chunksReceived: 1, delta: 'It took its time', offset: 0 } },
      { type: 'ai_complete', supersedes: true }
    ])
  })

  t.test('text that arrives after the job\'s state was evicted is not mistaken for the whole text', async (t) => {
    const server = createServer({ jobs: { stallAfterMs: 1_000 }, bounds: { ttlMs: 1_000 } })
    const peer = await server.connect({ sessionId: 's' })
    const job = server.manager.startAI('s', {})
    await job.progress({ delta: 'begin' })
    server.clock.advance(1_000)
    void server.manager.notifyAIComplete('s', {}, { jobId: 'another' })
    server.clock.advance(2_000)
    await job.progress({ delta: ' and end' })
    peer.take()
    await job.complete({})
    t.match(peer.take(), [
      { type: 'ai_progress', progress: { delta: ' and end', offset: 5 } }, { type: 'ai_complete', supersedes: true }
    ], 'but gets its true offset')
  })
})

t.test('close against complete', async (t) => {
  t.test('complete first: the job is not interrupted too', async (t) => {
    const server = createServer()
    const peer = await server.connect({ sessionId: 's' })
    const job = server.manager.startAI('s', {})
    const completed = job.complete({})
    await server.manager.close()
    t.notOk((await completed).dropped)
    t.strictSame(types(peer.take()), ['ai_start', 'ai_complete'])
  })

  t.test('close first: the job was interrupted, and later reports are not sent', async (t) => {
    const server = createServer()
    const peer = await server.connect({ sessionId: 's' })
    const job = server.manager.startAI('s', {})
    await job.started
    await server.manager.close()
    t.strictSame(await job.complete({}), { recipients: 0 })
    t.match(peer.take(), [{ type: 'ai_start' }, { type: 'ai_error', error: { type: 'interrupted' }, jobId: job.jobId }])
  })

  t.test('a job whose start is in flight is interrupted too', async (t) => {
    const server = createServer()
    const peer = await server.connect({ sessionId: 's' })
    void server.manager.notifyAIStart('s', {})
    await server.manager.close()
    t.strictSame(types(peer.take()), ['ai_start', 'ai_error'])
  })

  t.test('also with a slow broker', async (t) => {
    const server = createFarServer()
    const peer = await server.connect({ sessionId: 's' })
    void server.manager.notifyAIStart('s', {}, { jobId: 'runs' })
    void server.manager.notifyAIStart('s', {}, { jobId: 'ends' })
    void server.manager.notifyAIComplete('s', {}, { jobId: 'ends' })
    const closed = server.manager.close()
    server.broker.answer()
    await turn()
    server.broker.answer('publish session:s')
    await closed
    t.match(peer.take(), [
      { type: 'ai_start' }, { type: 'ai_start' }, { type: 'ai_complete', jobId: 'ends' },
      { type: 'ai_error', jobId: 'runs', error: { type: 'interrupted' } }
    ])
    t.same(server.broker.waiting, [])
  })
})

t.test('a job ends while a join is in flight', async (t) => {
  for (const [when, answerFirst] of [['after the broker\'s answer', true], ['before the broker\'s answer', false]] as const) {
    t.test(when, async (t) => {
      const server = createFarServer()
      const transport = new FakeTransport()
      void server.manager.notifyAIStart('s', {}, { jobId: 'j' })
      void server.manager.notifyAIProgress('s', { delta: 'text' }, { jobId: 'j' })
      server.broker.answer()
      const accepted = server.handshakes.accept(server.arrive(transport), server.admitted({ sessionId: 's' }))
      void server.manager.notifyAIProgress('s', { delta: ' more' }, { jobId: 'j' })
      void server.manager.notifyAIComplete('s', {}, { jobId: 'j' })
      // The answers arrive together, in the order in which they were given.
      if (answerFirst) server.broker.answer('join session:s')
      server.broker.answer('publish session:s')
      server.broker.answer('publish session:s')
      if (!answerFirst) server.broker.answer()
      await accepted
      server.clock.tick()
      const reader = new Reader()
      const messages = transport.texts.map((text) => JSON.parse(text) as Message)
      for (const message of messages) reader.take(message)
      t.equal(messages.filter(({ type }) => type === 'ai_complete').length, 1)
      t.equal(messages.at(-1)!.type, 'ai_complete')
      t.equal(reader.text('j'), 'text more')
      t.equal(reader.view('session:s').place!.seq, 2)
    })
  }
})

t.test('while a join is in flight', async (t) => {
  const setups: Record<string, { does: (server: ReturnType<typeof createFarServer>) => unknown, told: object }> = {
    'something is published': {
      does: (server) => {
        void server.manager.broadcastToSession('s', { type: 'note', n: 2 })
        server.broker.answer('publish session:s')
      },
      told: { recovered: true, replaying: 2, seq: 2 }
    },
    'what was missed expires': { does: (server) => { server.clock.advance(400_000) }, told: { recovered: false, reason: 'expired', seq: 1 } },
    'the stream is forgotten': { does: (server) => { server.clock.advance(2 * 86_400_000) }, told: { recovered: false, reason: 'restarted', seq: 0 } },
    'what was missed is evicted': {
      does: (server) => {
        press((stream, body, options) => {
          void server.broker.publish(stream, body, options)
          server.broker.answer(`publish ${stream}`)
        }, 'states')
      },
      told: { recovered: false, reason: 'restarted' }
    }
  }
  for (const [what, { does, told }] of Object.entries(setups)) {
    t.test(what, async (t) => {
      const server = createFarServer({ bounds: { maxTotalBytes: PRESSED_BYTES } })
      const first = await server.connect({ sessionId: 's' })
      const { epoch } = JSON.parse(first.transport.texts[0]!) as Message
      first.leave()
      void server.manager.broadcastToSession('s', { type: 'note', n: 1 })
      server.broker.answer()
      const transport = new FakeTransport()
      const accepted = server.handshakes.accept(server.arrive(transport), server.admitted({
        sessionId: 's', request: { since: { epoch: epoch as string, seq: 0 }, have: new Map() }
      }))
      does(server)
      server.broker.answer()
      await accepted
      server.clock.tick()
      t.match(transport.texts.map((text) => JSON.parse(text) as Message)[0], { type: 'connection', ...told })
    })
  }
})

t.test('a replay to a slow consumer is the announced one, whatever is published meanwhile', async (t) => {
  const server = createServer()
  void server.manager.notifyAIStart('s', {}, { jobId: 'j' })
  void server.manager.notifyAIProgress('s', { chunksReceived: 1, delta: 'a' }, { jobId: 'j' })
  const transport = new FakeTransport()
  Object.assign(transport, { stalled: true, writeAheadBytes: 0 })
  const peer = await server.connect({ sessionId: 's', transport })
  void server.manager.broadcastToSession('s', { type: 'note' })
  void server.manager.notifyAIProgress('s', { chunksReceived: 2, delta: 'b' }, { jobId: 'j' })
  void server.manager.notifyAIProgress('s', { chunksReceived: 3, delta: 'c' }, { jobId: 'j' })
  server.clock.tick()
  transport.writeAheadBytes = Infinity
  transport.drain()
  const reader = new Reader()
  const messages = peer.take()
  for (const message of messages) reader.take(message)
  t.match(messages, [
    { type: 'connection', replaying: 2, seq: 1 }, { type: 'ai_start' }, { type: 'ai_progress', progress: { delta: 'a', offset: 0 } },
    { type: 'note', seq: 2 }, { type: 'ai_progress', progress: { chunksReceived: 3, delta: 'bc', offset: 1 } }
  ])
  t.equal(reader.since('session:s'), `${String(messages[0]!.epoch)}:2`)
  t.equal(reader.text('j'), 'abc')
})

t.test('a client that disconnects repeatedly during a replay gets the rest each time', async (t) => {
  const server = createServer()
  const reader = new Reader()
  const take = (texts: readonly string[]): void => { for (const text of texts) reader.take(JSON.parse(text) as Message) }
  const come = async () => {
    const [epoch, seq] = reader.since('session:s')?.split(':') ?? []
    const since = epoch === undefined ? undefined : { epoch, seq: Number(seq) }
    return server.connect({ sessionId: 's', request: { since, have: new Map() } })
  }
  const first = await come()
  take(first.transport.texts)
  first.leave(1006)
  for (let n = 1; n <= 20; n++) await server.manager.broadcastToSession('s', { type: 'note', n })
  for (let times = 0; times < 20; times++) {
    const peer = await come()
    // The `connection` message and one replayed message arrive; the rest is lost with the connection.
    take(peer.transport.texts.slice(0, 2))
    peer.leave(1006)
    reader.view('session:s').replaying = 0
  }
  const last = await come()
  take(last.transport.texts)
  t.match(reader.view('session:s').greeting, { recovered: true, replaying: 0, seq: 20 })
  t.same(reader.view('session:s').messages.map(({ n }) => n as number), Array.from({ length: 20 }, (_, at) => at + 1))
})

t.test('a client that had received nothing yet misses nothing', async (t) => {
  const server = createServer()
  const peer = await server.connect({ sessionId: 's', userId: 'u' })
  const { epoch, seq, user } = JSON.parse(peer.transport.texts[0]!) as Message & { user: Message }
  t.match([seq, user.seq], [0, 0])
  peer.leave(1006)
  t.equal(server.broker.bytes, 0, 'a subscription alone keeps nothing')
  await server.manager.broadcastToSession('s', { type: 'note' })
  await server.manager.broadcastToUser('u', { type: 'mail' })
  const back = await server.connect({
    sessionId: 's', userId: 'u', request: { since: { epoch: epoch as string, seq: 0 }, have: new Map() },
    userSince: { epoch: user.epoch as string, seq: 0 }
  })
  const [greeting, ...missed] = back.transport.texts.map((text) => JSON.parse(text) as Message)
  t.match(greeting, { recovered: true, replaying: 1, user: { recovered: true, replaying: 1 } })
  t.match(missed, [{ type: 'mail', userSeq: 1 }, { type: 'note', seq: 1 }])
})

t.test('two connections of one user each recover from their own position', async (t) => {
  const server = createServer()
  const tabs = [await server.connect({ userId: 'u' }), await server.connect({ userId: 'u' })]
  const { epoch } = (JSON.parse(tabs[0]!.transport.texts[0]!) as Message & { user: Message }).user as Message & { epoch: string }
  await server.manager.broadcastToUser('u', { type: 'mail', n: 1 })
  tabs[0]!.leave(1006)
  await server.manager.broadcastToUser('u', { type: 'mail', n: 2 })
  tabs[1]!.leave(1006)
  await server.manager.broadcastToUser('u', { type: 'mail', n: 3 })
  for (const seq of [1, 2]) {
    const back = await server.connect({ userId: 'u', userSince: { epoch, seq } })
    const [greeting, ...missed] = back.transport.texts.map((text) => JSON.parse(text) as Message)
    t.match(greeting, { user: { recovered: true, replaying: 3 - seq } })
    t.same(missed.map(({ userSeq }) => userSeq as number), [2, 3].filter((n) => n > seq))
  }
})

t.test('a handshake that disconnects while the join is in flight no longer counts', async (t) => {
  const server = createFarServer({ limits: { connectionsPerUser: 1 } })
  const gone = server.arrive()
  const first = server.handshakes.accept(gone, server.admitted({ userId: 'u', sessionId: 's' }))
  t.equal(server.hub.count('user:u'), 1)
  server.handshakes.end(gone)
  t.equal(server.hub.count('user:u'), 0)
  t.equal(server.hub.count('session:s'), 0)
  const second = server.handshakes.accept(server.arrive(), server.admitted({ userId: 'u', sessionId: 's' }))
  server.broker.answer()
  await first
  t.type(await second, 'object', 'the next connection of the same user is admitted')
  t.equal(server.hub.count('user:u'), 1)
  void server.manager.broadcastToUser('u', { type: 'mail' })
  server.broker.answer()
  await turn()
  server.clock.tick()
  t.strictSame(gone.transport.writes, [])
})
