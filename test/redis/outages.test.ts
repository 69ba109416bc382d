import t from 'tap'
import { isReady, startNode } from '../support/redis-apps.js'
import { startRedis } from '../support/redis-nodes.js'
import { withoutRedis } from '../support/redis-server.js'
import { ended, endsOf, follow } from '../support/sessions.js'
import { timed } from '../support/timed.js'
import { until } from '../support/until.js'
import { connect, open } from '../support/ws-client.js'

// What the app and its clients notice while Redis hangs or is away.

const options = { skip: withoutRedis, timeout: 90_000 }

/** Calls wait for 5 seconds at most. The machine may be busy. */
const DEADLINE_MS = 7_000

t.test('Redis hangs for 10 seconds: no call waits past the deadline, no job is falsely ended, and ends are delivered after it, once', options, async (t) => {
  const server = await startRedis(t)
  // Shorter than the hang: all leases expire.
  const [a, b] = [await startNode(t, server, 3_000), await startNode(t, server, 3_000)]
  const client = await follow(t, b)
  const reader = await connect(t, b.url('?sessionId=s'))
  const ends = endsOf(client)
  for (const [node, jobId] of [[a, 'of a'], [b, 'of b'], [a, 'ends']] as const) {
    await node.manager.notifyAIStart('s', {}, { jobId })
    await node.manager.notifyAIProgress('s', { delta: 'Once ' }, { jobId })
  }
  await a.manager.notifyAIStart('other', {})
  server.signal('SIGSTOP')
  t.teardown(() => { server.signal('SIGCONT') })
  const since = performance.now()
  const end = timed(a.manager.notifyAIComplete('s', { n: 1 }, { jobId: 'ends' }))
  // Its job is the newest one of the session: an end without an id is never refused.
  const forgiving = timed(a.manager.notifyAIComplete('other', { n: 1 }))
  const calls: Array<ReturnType<typeof timed>> = []
  for (let n = 0; performance.now() - since < 10_000; n++) {
    calls.push(timed(a.manager.broadcastToSession('s', { type: 'note', n })))
    await new Promise((resolve) => { setTimeout(resolve, 20) })
  }
  t.equal(a.manager.getMetrics().broker.state, 'unavailable')
  server.signal('SIGCONT')
  const outcomes = await Promise.all(calls)
  const longest = Math.max(...outcomes.map(({ ms }) => ms))
  t.ok(longest < DEADLINE_MS, `the longest of ${calls.length} calls took ${Math.round(longest)} ms`)
  for (const { ms, value } of [await end, await forgiving]) t.match({ isInTime: ms < DEADLINE_MS, value }, { isInTime: true, value: { pending: true } })
  await isReady(a, b)
  t.match(await ended(client, 'ends'), { status: 'complete', result: { n: 1 } })
  for (const [node, jobId] of [[a, 'of a'], [b, 'of b']] as const) {
    await node.manager.notifyAIProgress('s', { delta: 'upon' }, { jobId })
    await node.manager.notifyAIComplete('s', {}, { jobId })
    t.match(await ended(client, jobId), { status: 'complete', text: 'Once upon' })
  }
  t.same(ends, ['ai_complete ends', 'ai_complete of a', 'ai_complete of b'], 'each end was reported once')
  const notes = reader.received.map((text) => JSON.parse(text) as { type: string, n: number }).filter(({ type }) => type === 'note').map(({ n }) => n)
  t.equal(new Set(notes).size, notes.length, 'nothing came twice')
  for (const [n, { value }] of outcomes.entries()) if (value !== undefined) t.ok(notes.includes(n), 'what was accepted was delivered')
  const late = await connect(t, b.url('?sessionId=other'))
  await until(async () => (await late.sync(), late.received.some((text) => text.includes('ai_complete'))))
  t.match(await a.manager.notifyAIStart('other', {}), { seq: 3 }, 'the end without an id was published once')
})

t.test('Redis is away for longer than the lease: jobs of nodes that come back later than others are not ended', options, async (t) => {
  const server = await startRedis(t, '--appendonly', 'yes', '--appendfsync', 'always')
  const [a, b] = [await startNode(t, server, 1_000), await startNode(t, server, 1_000)]
  const client = await follow(t, a)
  const ends = endsOf(client)
  let gaps = 0
  client.on('gap', () => { gaps++ })
  for (const [node, jobId] of [[a, 'of a'], [b, 'of b']] as const) await node.manager.notifyAIStart('s', {}, { jobId })
  await server.kill()
  for (const { line } of [a, b]) line.cut()
  await new Promise((resolve) => { setTimeout(resolve, 2_000) })
  await server.restart()
  a.line.mend()
  await isReady(a)
  // Several beats of the node that came back first.
  await new Promise((resolve) => { setTimeout(resolve, 1_500) })
  b.line.mend()
  await isReady(a, b)
  // A snapshot contains only the newest end.
  await until(() => gaps > 0)
  await b.manager.notifyAIComplete('s', {}, { jobId: 'of b' })
  await a.manager.notifyAIComplete('s', {}, { jobId: 'of a' })
  await ended(client, 'of a')
  t.same(ends, ['ai_complete of b', 'ai_complete of a'])
})

t.test('an outage is logged once, the health says so, and calls and joins reject at once', options, async (t) => {
  const server = await startRedis(t)
  const a = await startNode(t, server)
  const reader = await connect(t, a.url())
  const health = async (): Promise<string> => {
    const { broker } = a.manager.getMetrics()
    return broker.state
  }
  t.equal(await health(), 'ready')
  const before = a.logged.length
  await server.kill()
  await until(async () => await health() === 'unavailable')
  t.match(a.manager.getMetrics().broker.reason, /./)
  // Several attempts to connect.
  await new Promise((resolve) => { setTimeout(resolve, 3_000) })
  const [sent, started, joined] = await Promise.all([
    a.manager.broadcastToSession('s', { type: 'note' }), a.manager.notifyAIStart('s', {}), a.manager.adoptAI('s', 'j')
  ].map((call) => timed(call)))
  for (const { ms, error } of [sent!, started!]) {
    t.match(error, /Redis can't be reached/)
    t.ok(ms > 4_500 && ms < DEADLINE_MS, `after ${Math.round(ms)} ms`)
  }
  t.match(joined, { error: /Redis can't be reached/ })
  t.ok(joined!.ms < 1_000, 'others at once')
  reader.send({ type: 'subscribe', sessionId: 's' })
  const since = performance.now()
  t.match(await reader.nextOf('error'), { code: 'unavailable' })
  t.ok(performance.now() - since < 1_000, 'a join is refused at once')
  t.match(await open(t, a.url('?sessionId=s')).closed, { code: 1013 }, 'a new client shall try again later')
  await server.restart()
  await isReady(a)
  const statuses = a.logged.slice(before).filter(({ msg, level }) => /status|synchroni|subscribe/.test(msg) && level >= 40)
  t.same(statuses.map(({ state }) => state as string), ['unavailable'], 'one warning for the outage')
  reader.send({ type: 'subscribe', sessionId: 's' })
  await reader.nextOf('subscribed')
})

t.test('a revocation that could not be written is carried out when Redis is back', options, async (t) => {
  const server = await startRedis(t)
  const [a, b] = [await startNode(t, server), await startNode(t, server)]
  const reader = await connect(t, b.url('?userId=u&sessionId=s'))
  a.line.cut()
  await until(() => a.broker.status?.().state === 'unavailable')
  await t.rejects(a.manager.revoke('u', 's'), /Redis can't be reached/)
  a.line.mend()
  await isReady(a, b)
  t.match(await reader.next(), { type: 'unsubscribed', reason: 'revoked' })
})

t.test('a node whose subscriber is away misses a revocation: the user reads nothing more', options, async (t) => {
  const server = await startRedis(t)
  const [a, b] = [await startNode(t, server), await startNode(t, server)]
  const reader = await connect(t, b.url('?userId=u&sessionId=s'))
  for (let n = 0; n < 5; n++) {
    b.line.cut()
    await a.manager.broadcastToSession('s', { type: 'secret' })
    await a.manager.revoke('u', 's').catch(() => undefined)
    await a.manager.broadcastToSession('s', { type: 'secret' })
    b.line.mend()
    await isReady(b)
    t.match(await reader.next(), { type: 'unsubscribed', sessionId: 's', reason: 'revoked' }, 'before anything else')
    t.same(await reader.sync(), [])
    reader.send({ type: 'subscribe', sessionId: 's' })
    await reader.nextOf('subscribed')
    await reader.sync()
  }
})

t.test('messages and starts that are sent during a short outage wait for its end, in their order', options, async (t) => {
  const server = await startRedis(t)
  const [a, b] = [await startNode(t, server), await startNode(t, server)]
  const reader = await connect(t, b.url('?userId=u&sessionId=s'))
  a.line.cut()
  await until(() => a.broker.status?.().state === 'unavailable')
  const receipts = Promise.all([
    a.manager.broadcastToSession('s', { type: 'note', n: 1 }), a.manager.notifyAIStart('s', {}, { jobId: 'j' }), a.manager.broadcastToUser('u', { type: 'note', n: 2 }),
    a.manager.broadcastToSession('s', { type: 'note', n: 3 })
  ])
  a.line.mend()
  t.match(await receipts, [{ seq: 1 }, { seq: 2, jobId: 'j' }, { seq: 1 }, { seq: 3 }])
  const got = [await reader.next(), await reader.next(), await reader.next(), await reader.next()]
  t.match(got.filter(({ seq }) => seq !== undefined), [{ n: 1 }, { type: 'ai_start' }, { n: 3 }])
  t.match(got.filter(({ userSeq }) => userSeq !== undefined), [{ n: 2 }])
})
