import { once } from 'node:events'
import t, { type Test } from 'tap'
import type { AiCanvasWsOptions, WebSocketManager } from '../../lib/index.js'
import { startApp } from '../support/app.js'
import type { BusBroker } from '../support/bus-broker.js'
import { BusStore } from '../support/bus-store.js'
import { ended, endsOf, follow, jobOf } from '../support/sessions.js'
import { until } from '../support/until.js'
import { connect, open, type TestClient } from '../support/ws-client.js'

// Several apps over one store that delays, fails and loses what it has accepted. The clients are real ones.

interface Node {
  readonly broker: BusBroker
  readonly manager: WebSocketManager
  readonly url: (query?: string) => string
  readonly close: () => Promise<void>
}

interface Nodes {
  readonly store: BusStore
  readonly a: Node
  readonly b: Node
}

const SEEDS = [1, 2, 3, 4, 5, 6]

async function startNode (t: Test, store: BusStore, options: AiCanvasWsOptions): Promise<Node> {
  const broker = store.createBroker()
  const { app, url } = await startApp(t, { allowCancel: true, ...options, broker })
  return { broker, url, manager: app.wsManager, close: () => app.close() }
}

async function startNodes (t: Test, seed = 1, options: AiCanvasWsOptions = {}): Promise<Nodes> {
  const store = new BusStore({ seed, asBytes: seed % 2 === 0 })
  const [a, b] = [await startNode(t, store, options), await startNode(t, store, options)]
  t.teardown(() => { store.close() })
  return { store, a, b }
}

/** Reports text piece by piece. Each receipt is awaited, or none. */
async function stream (manager: WebSocketManager, pieces: readonly string[], isAwaited = true, job: { jobId?: string } = { jobId: 'j' }): Promise<void> {
  for (const delta of pieces) {
    const receipt = manager.notifyAIProgress('s', { delta }, job)
    if (isAwaited) await receipt
  }
}

const PIECES = ['Once ', 'upon ', 'a ', 'time 💡', ' there ', 'was ', 'a ', 'store ']
const TEXT = PIECES.join('')

t.test('1. lost history: a job continues over an emptied store, with its whole text and its end', async (t) => {
  for (const seed of SEEDS) {
    for (const isAwaited of [true, false]) {
      const { store, a, b } = await startNodes(t, seed)
      const clients = [await follow(t, a), await follow(t, b)]
      await a.manager.notifyAIStart('s', { prompt: 'x' }, { jobId: 'j' })
      await stream(a.manager, PIECES, isAwaited)
      store.lose()
      await stream(a.manager, PIECES, isAwaited)
      const late = await follow(t, b)
      store.lose()
      t.match(await a.manager.notifyAIComplete('s', { chunks: 16 }, { jobId: 'j' }), { jobId: 'j' })
      const title = `seed ${seed}, ${isAwaited ? 'one by one' : 'at once'}`
      for (const client of [...clients, late]) {
        t.match(await ended(client), { status: 'complete', result: { chunks: 16 } }, title)
        await until(() => jobOf(client)?.text === TEXT + TEXT)
        t.equal(jobOf(client)?.text, TEXT + TEXT, title)
      }
    }
  }
})

t.test('1. lost history: the documented calls, which name only the session, continue as well', async (t) => {
  for (const seed of SEEDS) {
    const { store, a, b } = await startNodes(t, seed)
    const client = await follow(t, b)
    const { jobId } = await a.manager.notifyAIStart('s', { prompt: 'x' })
    await stream(a.manager, PIECES, true, {})
    store.lose()
    await stream(a.manager, PIECES, true, {})
    await a.manager.notifyAIComplete('s', { chunks: 16 })
    t.match(await ended(client, jobId), { status: 'complete', text: TEXT + TEXT, result: { chunks: 16 } }, `seed ${seed}`)
  }
})

t.test('1. lost history: trackAI and runAI continue', async (t) => {
  for (const seed of SEEDS) {
    const { store, a, b } = await startNodes(t, seed)
    const client = await follow(t, b)
    async function * chunks (): AsyncGenerator<string> {
      for (const [at, piece] of PIECES.entries()) {
        yield piece
        if (at === 4) store.lose()
        await until(() => jobOf(client)?.text.endsWith(piece) === true)
      }
    }
    t.match(await a.manager.runAI('s', { prompt: 'x' }, chunks, { jobId: 'j', text: true, throttleMs: 1 }), { status: 'complete', text: TEXT })
    t.match(await ended(client), { status: 'complete', text: TEXT }, `seed ${seed}`)
  }
})

t.test('1. lost history: the newest messages are missing after a failover', async (t) => {
  for (const seed of SEEDS) {
    const { store, a, b } = await startNodes(t, seed)
    const client = await follow(t, b)
    const ends = endsOf(client)
    await a.manager.notifyAIStart('s', { prompt: 'x' }, { jobId: 'j' })
    await stream(a.manager, PIECES)
    for (let n = 0; n < 3; n++) await a.manager.notifyAIComplete('s', { n }, { jobId: `done ${n}` })
    await ended(client, 'done 2')
    store.loseTail(5)
    await stream(a.manager, PIECES)
    await a.manager.notifyAIComplete('s', {}, { jobId: 'j' })
    t.match(await ended(client), { status: 'complete', text: TEXT + TEXT }, `seed ${seed}`)
    t.same(ends, ['ai_complete done 0', 'ai_complete done 1', 'ai_complete done 2', 'ai_complete j'], 'each end was reported once')
    const late = await follow(t, a)
    t.match(await ended(late), { status: 'complete', text: TEXT + TEXT })
  }
})

t.test('1. lost history: an end that the store had confirmed and lost is published again', async (t) => {
  const { store, a, b } = await startNodes(t)
  await a.manager.notifyAIStart('s', { prompt: 'x' }, { jobId: 'j' })
  await stream(a.manager, PIECES)
  await a.manager.notifyAIComplete('s', { chunks: 8 }, { jobId: 'j' })
  store.lose()
  const late = await follow(t, b)
  t.match(await ended(late), { status: 'complete', text: TEXT, result: { chunks: 8 } })
})

t.test('1. lost history: a result without a start, and results in their order', async (t) => {
  const { store, a, b } = await startNodes(t)
  await a.manager.notifyAIStart('s', {}, { jobId: 'first' })
  await a.manager.notifyAIProgress('s', { delta: 'text' }, { jobId: 'first' })
  await a.manager.notifyAIComplete('s', {}, { jobId: 'first' })
  const { jobId } = await a.manager.notifyAIComplete('s', { chunks: 3 })
  store.lose()
  const late = await follow(t, b)
  t.match(await ended(late, jobId), { status: 'complete', result: { chunks: 3 } })
  t.equal(late.jobStore('s').getSnapshot().latest?.jobId, jobId, 'the last one is still the last')
})

t.test('1. lost history: an end that another process had reported is published again', async (t) => {
  for (const seed of SEEDS) {
    const { store, a, b } = await startNodes(t, seed)
    const client = await follow(t, a)
    await a.manager.notifyAIStart('s', {}, { jobId: 'j' })
    await b.manager.notifyAIComplete('s', { chunks: 1 }, { jobId: 'j' })
    store.loseTail(1)
    const late = await follow(t, b)
    t.match(await ended(late), { status: 'complete', result: { chunks: 1 } }, `seed ${seed}`)
    t.match(await ended(client), { status: 'complete' })
  }
})

t.test('1. lost history: a job whose last owner was lost with the history ends as stalled', async (t) => {
  const { store, a, b } = await startNodes(t, 1, { jobs: { stallAfterMs: 300 } })
  const client = await follow(t, a)
  await a.manager.notifyAIStart('s', {}, { jobId: 'j' })
  await b.manager.adoptAI('s', 'j')
  await store.kill(b.broker)
  store.loseTail(1)
  t.match(await ended(client), { error: { type: 'stalled' } })
})

t.test('1. lost history: the messages of users continue', async (t) => {
  const { store, a, b } = await startNodes(t)
  const client = await connect(t, b.url('?userId=u'))
  for (let n = 0; n < 3; n++) await a.manager.broadcastToUser('u', { type: 'note', n })
  while ((await client.nextOf('note')).n !== 2);
  store.lose()
  t.match(await client.nextOf('subscribed'), { user: { seq: 0, recovered: false, reason: 'restarted' } })
  await a.manager.broadcastToUser('u', { type: 'note', n: 3 })
  t.match(await client.nextOf('note'), { n: 3, userSeq: 1 })
})

t.test('2. ownership: a deploy ends only the jobs that the process still runs', async (t) => {
  const { a, b } = await startNodes(t)
  const client = await follow(t, b)
  const ends = endsOf(client)
  await a.manager.notifyAIStart('s', {}, { jobId: 'own' })
  await a.manager.notifyAIStart('s', {}, { jobId: 'taken over' })
  await b.manager.notifyAIProgress('s', { chunksReceived: 1 }, { jobId: 'taken over' })
  await a.close()
  t.match(await ended(client, 'own'), { error: { type: 'interrupted' } })
  t.match(jobOf(client, 'taken over'), { status: 'processing' })
  t.notOk((await b.manager.notifyAIProgress('s', { chunksReceived: 2 }, { jobId: 'taken over' })).dropped)
  await b.manager.notifyAIComplete('s', {}, { jobId: 'taken over' })
  t.match(await ended(client, 'taken over'), { status: 'complete' })
  t.same(ends, ['ai_error own', 'ai_complete taken over'])
})

t.test('2. ownership: a job is transferred and adopted', async (t) => {
  const { a, b } = await startNodes(t)
  const client = await follow(t, b)
  const started = a.manager.startAI('s', { prompt: 'x' }, { jobId: 'j' })
  await started.progress({ delta: 'one ' })
  t.equal(await started.transfer(), true)
  t.equal(await started.transfer(), false, 'once')
  await a.close()
  const adopted = await b.manager.adoptAI('s', 'j')
  t.equal(adopted?.jobId, 'j')
  t.match(await adopted?.started, { jobId: 'j' })
  await adopted?.progress({ delta: 'two' })
  client.send({ type: 'cancel', sessionId: 's', jobId: 'j' })
  await once(adopted!.signal, 'abort')
  await adopted?.complete({})
  t.match(await ended(client), { status: 'complete', text: 'one two' })
  t.equal(await b.manager.adoptAI('s', 'j'), undefined, 'it has ended')
  t.equal(await b.manager.adoptAI('s', 'unknown'), undefined)
  await t.rejects(b.manager.adoptAI('s', ''), { code: 'AICW_ERR_INVALID_ID' })
})

t.test('2. ownership: a second start in another process continues the text', async (t) => {
  for (const seed of SEEDS) {
    const { a, b } = await startNodes(t, seed)
    await a.manager.notifyAIStart('s', {}, { jobId: 'j' })
    await stream(a.manager, PIECES)
    const job = b.manager.startAI('s', {}, { jobId: 'j' })
    for (const delta of PIECES) void job.progress({ delta })
    t.match(await job.started, { dropped: 'started' })
    await a.close()
    await job.complete({})
    const back = await follow(t, b)
    t.match(await ended(back), { status: 'complete', text: TEXT + TEXT }, `seed ${seed}`)
  }
})

t.test('2. ownership: a process that starts a running job again watches it', async (t) => {
  const { a, b } = await startNodes(t, 1, { jobs: { stallAfterMs: 300 } })
  const client = await follow(t, a)
  await a.manager.startAI('s', {}, { jobId: 'j' }).started
  t.match(await b.manager.startAI('s', {}, { jobId: 'j' }).started, { dropped: 'started' })
  t.match(await ended(client), { error: { type: 'stalled' } })
})

t.test('2. ownership: a process that reports on a job again gets its cancels again', async (t) => {
  const { a, b } = await startNodes(t)
  const job = a.manager.startAI('s', {}, { jobId: 'j' })
  await job.started
  await b.manager.notifyAIProgress('s', {}, { jobId: 'j' })
  await job.progress({})
  t.equal(await b.manager.cancelAI('s', { jobId: 'j' }), true)
  t.equal(job.signal.aborted, true)
})

t.test('2. ownership: the jobs of a killed process end as stalled, once', async (t) => {
  for (const seed of SEEDS) {
    const { store, a, b } = await startNodes(t, seed)
    const c = await startNode(t, store, {})
    const client = await follow(t, c)
    const ends = endsOf(client)
    await a.manager.notifyAIStart('s', {}, { jobId: 'lost' })
    await a.manager.notifyAIStart('s', {}, { jobId: 'saved' })
    await b.manager.notifyAIProgress('s', {}, { jobId: 'saved' })
    await store.kill(a.broker)
    t.match(await ended(client, 'lost'), { error: { type: 'stalled' } })
    await b.manager.notifyAIComplete('s', {}, { jobId: 'saved' })
    await ended(client, 'saved')
    t.same(ends, ['ai_error lost', 'ai_complete saved'], `seed ${seed}`)
  }
})

t.test('3. barrier: a subscriber gets each message once and in order, however many arrive while it subscribes', async (t) => {
  for (const seed of SEEDS) {
    const { a, b } = await startNodes(t, seed)
    const publisher = { isStopped: false }
    let published = 0
    const publishing = (async () => {
      while (!publisher.isStopped) {
        await Promise.all(Array.from({ length: 5 }, () => a.manager.broadcastToSession('s', { type: 'note', n: ++published })))
      }
    })()
    const readers = await Promise.all(Array.from({ length: 10 }, () => connect(t, b.url())))
    const read = async (reader: TestClient): Promise<void> => {
      for (let round = 0; round < 5; round++) {
        reader.send({ type: 'subscribe', sessionId: 's' })
        let { seq } = await reader.nextOf('subscribed')
        for (let n = 0; n < 20; n++) {
          const message = await reader.nextOf('note')
          if (message.seq !== ++seq) t.equal(message.seq, seq, `seed ${seed}`)
        }
        reader.send({ type: 'unsubscribe', sessionId: 's' })
        await reader.nextOf('unsubscribed')
      }
    }
    await Promise.all(readers.map(read))
    publisher.isStopped = true
    await publishing
    t.ok(published > 100, `${published} messages`)
  }
})

t.test('4. idempotence: an end of which the result was lost is delivered once, and its receipt is the first one', async (t) => {
  for (const when of ['before', 'after'] as const) {
    for (const seed of SEEDS) {
      const { store, a, b } = await startNodes(t, seed)
      const client = await follow(t, b)
      const ends = endsOf(client)
      await a.manager.notifyAIStart('s', {}, { jobId: 'j' })
      store.failNext(when)
      t.match(await a.manager.notifyAIComplete('s', { text: 'done' }, { jobId: 'j' }), { seq: 2, jobId: 'j', pending: undefined, dropped: undefined })
      await a.manager.notifyAIComplete('s', {}, { jobId: 'next' })
      await ended(client, 'next')
      t.same(ends, ['ai_complete j', 'ai_complete next'], `${when}, seed ${seed}`)
      t.equal(a.manager.getMetrics().failed, 0)
    }
  }
})

t.test('4. idempotence: text whose outcome is unknown is neither lost nor doubled', async (t) => {
  for (const when of ['before', 'after'] as const) {
    for (const seed of SEEDS) {
      const { store, a, b } = await startNodes(t, seed)
      const client = await follow(t, b)
      await a.manager.notifyAIStart('s', {}, { jobId: 'j' })
      await stream(a.manager, PIECES.slice(0, 3))
      store.failNext(when)
      t.match(await a.manager.notifyAIProgress('s', { delta: PIECES[3]! }, { jobId: 'j' }), { local: true })
      await stream(a.manager, PIECES.slice(4))
      await a.manager.notifyAIComplete('s', {}, { jobId: 'j' })
      t.match(await ended(client), { status: 'complete', text: TEXT, truncated: false }, `${when}, seed ${seed}`)
    }
  }
})

t.test('5. control: a revocation is confirmed by every node, or names the missing one, which carries it out first', async (t) => {
  const { store, a, b } = await startNodes(t)
  const there = await connect(t, b.url('?userId=u&sessionId=s'))
  await a.manager.revoke('u', 's')
  t.match(await there.next(), { type: 'unsubscribed', sessionId: 's', reason: 'revoked' })

  there.send({ type: 'subscribe', sessionId: 's' })
  await there.nextOf('subscribed')
  store.disconnect(b.broker)
  await t.rejects(a.manager.revoke('u', 's'), { message: /node-2/ })
  await a.manager.broadcastToSession('s', { type: 'secret' })
  await store.reconnect(b.broker)
  t.match(await there.next(), { type: 'unsubscribed', sessionId: 's', reason: 'revoked' }, 'before anything else')
  t.same(await there.sync(), [], 'the user reads nothing more')
})

t.test('5. control: a cancel goes to the process that runs the job', async (t) => {
  const cancelled: string[] = []
  const store = new BusStore()
  const onCancel = (name: string) => ({ jobId }: { jobId: string }): boolean => {
    cancelled.push(`${name} ${jobId}`)
    return true
  }
  const [a, b] = [await startNode(t, store, { onCancel: onCancel('a') }), await startNode(t, store, { onCancel: onCancel('b') })]
  t.teardown(() => { store.close() })
  const client = await connect(t, b.url('?sessionId=s'))
  const job = a.manager.startAI('s', {}, { jobId: 'handle' })
  await job.started
  client.send({ type: 'cancel', sessionId: 's' })
  t.match(await client.nextOf('cancelling'), { jobId: 'handle' })
  t.equal(job.signal.aborted, true)
  await job.error({ message: 'stopped', type: 'cancelled' })
  await a.manager.notifyAIStart('s', {}, { jobId: 'queued' })
  client.send({ type: 'cancel', sessionId: 's', jobId: 'queued' })
  t.match(await client.nextOf('cancelling'), { jobId: 'queued' })
  client.send({ type: 'cancel', sessionId: 's', jobId: 'nobody\'s' })
  t.match(await client.nextOf('cancelling'), { jobId: 'nobody\'s' })
  t.same(cancelled, ['a queued', 'b nobody\'s'])
})

t.test('6. status: an outage shows in the metrics, newcomers are asked to come later, and everything continues after it', async (t) => {
  const { store, a, b } = await startNodes(t)
  const client = await follow(t, b)
  t.match(b.manager.getMetrics().broker, { state: 'ready' })
  store.disconnect(b.broker)
  t.match(b.manager.getMetrics().broker, { state: 'unavailable', reason: /./ })
  t.same(await open(t, b.url('?sessionId=s')).closed, { code: 1013, reason: 'Try again later' })
  await a.manager.notifyAIStart('s', {}, { jobId: 'j' })
  const end = b.manager.notifyAIComplete('s', { from: 'b' }, { jobId: 'k' })
  await a.manager.notifyAIComplete('s', { from: 'a' }, { jobId: 'j' })
  await store.reconnect(b.broker)
  t.match(await end, { jobId: 'k' })
  t.match(await ended(client, 'j'), { result: { from: 'a' } })
  t.match(await ended(client, 'k'), { result: { from: 'b' } })
  t.match(b.manager.getMetrics().broker, { state: 'ready' })
})

t.test('7. a broadcast reaches the clients of all nodes', async (t) => {
  const { a, b } = await startNodes(t)
  const clients = [await connect(t, a.url()), await connect(t, b.url()), await connect(t, b.url('?sessionId=s'))]
  await a.manager.broadcast({ type: 'hello' })
  for (const client of clients) t.match(await client.next(), { type: 'hello' })
})

t.test('while the store is away, the node\'s own clients get progress and ends of its jobs, and the others get them after it', async (t) => {
  for (const seed of SEEDS) {
    for (const isOver of [true, false]) {
      const { store, a, b } = await startNodes(t, seed)
      const [near, far] = [await follow(t, a), await follow(t, b)]
      const ends = [near, far].map(endsOf)
      const raw = await connect(t, a.url('?sessionId=s'))
      await a.manager.notifyAIStart('s', { prompt: 'x' }, { jobId: 'j' })
      await stream(a.manager, PIECES)
      await until(() => jobOf(near)?.text === TEXT && jobOf(far)?.text === TEXT)
      store.disconnect(a.broker)
      for (const [at, delta] of PIECES.entries()) {
        t.match(await a.manager.notifyAIProgress('s', { delta, chunksReceived: at }, { jobId: 'j' }), { recipients: 2, local: true, jobId: 'j' })
      }
      t.match(await a.manager.notifyAIProgress('s', { step: 'no text' }, { jobId: 'j' }), { recipients: 2, local: true })
      await until(() => jobOf(near)?.text === TEXT + TEXT)
      t.equal(jobOf(far)?.text, TEXT)
      const end = isOver ? a.manager.notifyAIComplete('s', { chunks: 16 }, { jobId: 'j' }) : undefined
      if (isOver) {
        t.match(await ended(near), { status: 'complete', text: TEXT + TEXT, result: { chunks: 16 } }, 'before the store is back')
        t.equal(jobOf(far)?.status, 'processing')
        let offset = 0
        for (let message = await raw.nextOf('ai_progress'); offset < 2 * TEXT.length; message = await raw.nextOf('ai_progress')) {
          const { delta, offset: at } = message.progress as { delta: string, offset: number }
          t.equal(at, offset, 'a client that only appends gets each piece once')
          offset += delta.length
          if (offset === 2 * TEXT.length) break
        }
        t.match(await raw.nextOf('ai_complete'), { jobId: 'j', seq: undefined })
      }
      await store.reconnect(a.broker)
      t.match(await (end ?? a.manager.notifyAIComplete('s', { chunks: 16 }, { jobId: 'j' })), { jobId: 'j', seq: 2, pending: undefined })
      const late = await follow(t, b)
      for (const client of [near, far, late]) t.match(await ended(client), { status: 'complete', text: TEXT + TEXT, truncated: false, result: { chunks: 16 } })
      t.same(ends, [['ai_complete j'], ['ai_complete j']], 'each was told once')
      if (isOver) t.match(await raw.nextOf('ai_complete'), { jobId: 'j', seq: 2 }, 'a client that shows raw messages gets the numbered end too')
    }
  }
})
