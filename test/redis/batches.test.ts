import t, { type Test } from 'tap'
import { defaults } from '../../lib/options.js'
import { redisBroker } from '../../lib/redis/index.js'
import { Keys } from '../../lib/redis/keys.js'
import type { Broker, BrokerSettings, Published } from '../../lib/streams/broker.js'
import { RecordingNode } from '../../lib/testing/recording-node.js'
import { durable, ephemeral, json, large, other, report, session, text } from '../../lib/testing/reports.js'
import { systemClock } from '../../lib/util/clock.js'
import { Line } from '../support/redis-fixture.js'
import { RedisServer, withoutRedis } from '../support/redis-server.js'
import { until } from '../support/until.js'

const silent = (): void => undefined
const settings: BrokerSettings = {
  history: defaults.history, ...defaults.jobs, clock: systemClock, log: { debug: silent, info: silent, warn: silent, error: silent }
}
const options = { skip: withoutRedis, timeout: 60_000 }

const bad = 'session:bad'
const { metadata } = new Keys('aicw').stream(bad)
const ofBad = { metadata, list: metadata.replace('}m:', '}l:'), jobs: metadata.replace('}m:', '}j:') }

interface Opened { readonly server: RedisServer, readonly broker: Broker, readonly node: RecordingNode, readonly line: Line }

async function open (t: Test, { leaseMs = 3_000, ...changes }: Partial<BrokerSettings> & { leaseMs?: number } = {}, known?: RedisServer): Promise<Opened> {
  const server = known ?? await RedisServer.start()
  if (known === undefined) t.teardown(() => server.stop())
  const [node, line] = [new RecordingNode(), await Line.to(server.port)]
  const broker = redisBroker({ redis: { host: '127.0.0.1', port: line.port }, leaseMs })
  await broker.open(node, { ...settings, ...changes })
  t.teardown(async () => {
    await broker.close()
    line.close()
  })
  return { server, broker, node, line }
}

/** Number of calls of our functions so far. */
async function calls (server: RedisServer): Promise<number> {
  return Number(/cmdstat_fcall:calls=(\d+)/.exec(String(await server.command('INFO', 'commandstats')))?.[1])
}

/** What Redis says about its process, as if it were another one that has loaded the data of the first. */
async function becomeAnotherProcess (server: RedisServer): Promise<void> {
  await server.command('SET', 'aicw:1:{ctl}gen', 'x another')
  for (let bucket = 0; bucket < 64; bucket++) await server.command('SET', `aicw:1:{b${bucket}}gen`, 'x')
}

const all = (broker: Broker, bodies: readonly string[]): Promise<Published[]> => Promise.all(bodies.map(async (body) => broker.publish(session, body, durable)))
const numbers = (length: number): string[] => Array.from({ length }, (_, n) => json(n))

t.test('messages of one tick share a call, and each has a result of its own', options, async (t) => {
  const { server, broker, node } = await open(t, { history: { ...defaults.history, maxBytes: 100_000 } })
  for (const stream of [session, other]) await broker.join(stream)
  await broker.publish(bad, json(0), ephemeral)
  await server.command('SET', ofBad.list, 'of another program')
  const before = await calls(server)
  const results = await Promise.allSettled([
    broker.publish(session, json(1), durable),
    broker.publish(session, json(2), { ...report('start', { jobId: 'j' }), counter: 1 }),
    broker.publish(session, json(3), report('start', { jobId: 'j' })),
    broker.publish(session, json(4), text('late', 'j', 10)),
    broker.publish(session, large(100_000), durable),
    broker.publish(bad, json(5), durable),
    broker.publish(bad, json(6), ephemeral),
    broker.publish(other, json(7), durable),
    broker.publish(session, json(8), text('text', 'j', 0)),
    broker.publish(session, json(9), { ...report('start', { jobId: 'j' }), counter: 1 }),
    broker.publish(session, json(10), ephemeral),
    broker.publish(session, json(11), report('complete', { jobId: 'j' }))
  ].map(async (published) => published))
  t.equal(await calls(server) - before, 1)
  t.match(results.map((result) => result.status === 'fulfilled' ? result.value : String(result.reason)), [
    { seq: 1 }, { seq: 2, jobId: 'j' }, { seq: 2, dropped: 'started' }, { dropped: 'gap', textEnd: 0 }, { seq: 3, kept: false },
    /another type: it belongs to another program/, { seq: 1 }, { seq: 1 }, { seq: 3, jobId: 'j', textEnd: 4 }, { seq: 2, jobId: 'j' }, { seq: 3 }, { seq: 4, jobId: 'j' }
  ])
  const messages = await node.until(session, json(11))
  t.same(messages.map(({ body }) => body.slice(0, 60)), [json(1), json(2), large(100_000), json(8), json(10), json(11)].map((body) => body.slice(0, 60)))
  t.same((await node.until(other, json(7))).length, 1)
})

t.test('a stream that can\'t be read or written does not affect the others of the call', options, async (t) => {
  const { server, broker } = await open(t)
  await server.command('LPUSH', ofBad.metadata, 'x')
  const [failed, good] = await Promise.allSettled([broker.publish(bad, json(1), report('start')), broker.publish(session, json(1), durable)].map(async (published) => published))
  t.match([failed, good], [{ reason: { message: /another type/ } }, { value: { seq: 1 } }])
  await server.command('DEL', ofBad.metadata)
  await broker.publish(bad, json(1), report('start', { jobId: 'j' }))
  await server.command('SET', ofBad.jobs, 'x')
  const results = await Promise.allSettled([
    broker.publish(bad, json(2), durable), broker.publish(bad, json(3), report('complete', { jobId: 'j' })), broker.publish(session, json(2), durable)
  ].map(async (published) => published))
  t.match(results, [{}, { reason: { message: /another type/ } }, { value: { seq: 2 } }])
})

t.test('many messages need several calls, and keep their order', options, async (t) => {
  const { server, broker, node } = await open(t)
  await broker.join(session)
  const before = await calls(server)
  const results = await all(broker, numbers(100))
  t.equal(await calls(server) - before, 4)
  t.same(results.map(({ seq }) => seq), numbers(100).map((_, n) => n + 1))
  t.same((await node.until(session, json(99))).map(({ body }) => body), numbers(100))
})

t.test('a call that comes after lost history is not executed, and repeated with all its messages in their order', options, async (t) => {
  const { server, broker, node } = await open(t)
  await broker.join(session)
  await all(broker, [json('before')])
  await server.command('EVAL', 'for _, key in ipairs(redis.call("KEYS", "aicw:*")) do redis.call("DEL", key) end', '0')
  const results = await all(broker, numbers(50))
  t.same(results.map(({ seq }) => seq), numbers(50).map((_, n) => n + 1))
  const messages = await node.until(session, json(49))
  t.same(messages.map(({ body }) => body), [json('before'), ...numbers(50)])
})

t.test('the library is loaded again if it is gone, and no message is lost, doubled or overtaken', options, async (t) => {
  const { server, broker, node } = await open(t)
  await broker.join(session)
  await server.command('FUNCTION', 'FLUSH')
  const first = all(broker, numbers(70))
  const later = new Promise((resolve) => { setImmediate(resolve) }).then(() => all(broker, [json('later')]))
  t.same((await first).map(({ seq }) => seq), numbers(70).map((_, n) => n + 1))
  t.match(await later, [{ seq: 71 }])
  t.same((await node.until(session, json('later'))).map(({ body }) => body), [...numbers(70), json('later')])
})

t.test('a connection that is lost in between rejects all messages of the call, and the next ones are published', options, async (t) => {
  const { broker, line } = await open(t)
  await all(broker, [json('before')])
  line.stall()
  const lost = Promise.allSettled([...numbers(40).map(async (body) => broker.publish(session, body, durable)), broker.publish(session, json('x'), report('start'))])
  await new Promise((resolve) => { setImmediate(resolve) })
  line.cut()
  t.ok((await lost).every(({ status }) => status === 'rejected'))
  await t.rejects(Promise.resolve(broker.publish(session, json('away'), durable)), { message: /Redis can't be reached/ })
  line.mend()
  await until(() => broker.status?.().state === 'ready')
  t.match(await all(broker, [json('after')]), [{ recipients: 0 }])
})

t.test('1,000 readers of one stream that return at once cost at most 10 joins', options, async (t) => {
  const { server, broker } = await open(t)
  await broker.join(session)
  const [{ epoch } = { epoch: '' }] = await all(broker, numbers(60))
  const before = await calls(server)
  const joins: Array<Promise<{ replay: readonly unknown[] }>> = []
  for (let turn = 0; turn < 5; turn++) {
    for (let n = 0; n < 200; n++) joins.push(Promise.resolve(broker.join(session, { since: { epoch, seq: 10 } })))
    await new Promise((resolve) => { setImmediate(resolve) })
  }
  for (const { replay } of await Promise.all(joins)) t.equal(replay.length, 50)
  const needed = await calls(server) - before
  t.ok(needed <= 10, `${needed} calls`)
})

t.test('a join returns a long text and many messages whole, although no call reads all of them', options, async (t) => {
  const { server, broker } = await open(t, { history: { ...defaults.history, maxBytes: 64 * 1024 * 1024 } })
  const long = Array.from({ length: 4_000 }, (_, n) => `piece ${n} 💡 `).join('').repeat(4)
  await broker.publish(session, json('start'), report('start', { jobId: 'j' }))
  const { epoch } = await broker.publish(session, json('text'), text(long, 'j', 0))
  for (let at = 0; at < 10; at++) await Promise.all(numbers(20).map(async (body) => broker.publish(session, body.replace('{', `{"ballast":"${'x'.repeat(5_000)}",`), durable)))
  const before = await calls(server)
  const joined = await broker.join(session, { since: { epoch, seq: 1 } })
  t.ok(await calls(server) - before > 4)
  t.same(joined.replay.filter((one) => one.durable).map(({ seq }) => seq), Array.from({ length: 200 }, (_, n) => n + 2))
  const span = joined.replay.find((one) => one.text !== undefined)?.text
  t.same([span?.from, span?.to, span?.source.slice(0).text === long], [0, long.length, true])
  await broker.publish(session, json('end'), report('complete', { jobId: 'j' }))
  const ended = await broker.join(session)
  t.equal(ended.replay[0]?.text?.source.slice(0).text, long)
})

t.test('a stream keeps at most 256 running jobs: the oldest is forgotten, and begins anew with its next report', options, async (t) => {
  const { broker } = await open(t)
  await broker.publish(session, json('text'), text('abc', 'job 0', 0))
  for (let n = 0; n <= 256; n++) await broker.publish(session, json(n), report('start', { jobId: `job ${n}` }))
  const { replay } = await broker.join(session)
  t.same(replay.map(({ jobId }) => jobId), numbers(256).map((_, n) => `job ${n + 1}`))
  t.match(await broker.publish(session, json('again'), text('def', 'job 0', 3)), { dropped: 'gap', textEnd: 0 })
  t.match(await broker.publish(session, json('again'), text('abcdef', 'job 0', 0)), { jobId: 'job 0', textEnd: 6 })
})

t.test('the texts of a stream are bounded: those of ended jobs are discarded first, then the longest', options, async (t) => {
  const { server, broker } = await open(t)
  const units = 1024 * 1024
  const grow = async (jobId: string, length: number): Promise<void> => {
    for (let at = 0; at < length; at += units / 4) await broker.publish(session, json(jobId), text('x'.repeat(Math.min(units / 4, length - at)), jobId))
  }
  const kept = async (): Promise<string[]> => (await server.command('KEYS', 'aicw:1:*t:11:session:one:*') as string[]).map((key) => key.split(':').at(-1) ?? '').sort()
  for (const job of ['ended 1', 'ended 2']) {
    await grow(job, units)
    await broker.publish(session, json('end'), report('complete', { jobId: job }))
  }
  for (const job of ['a', 'b']) await grow(job, units / 2)
  t.same(await kept(), ['a', 'b', 'ended 1', 'ended 2'])
  await grow('c', units)
  await broker.publish(session, json('end'), report('complete', { jobId: 'b' }))
  await grow('d', units)
  await broker.publish(session, json('end'), report('complete', { jobId: 'd' }))
  t.notOk((await kept()).includes('ended 1'), 'the text of the job that ended first is discarded first')
  for (const job of ['e', 'f', 'g', 'h']) await grow(job, units)
  t.ok((await kept()).length <= 5, (await kept()).join())
  const { replay } = await broker.join(session)
  const truncated = replay.filter((one) => one.text?.source.slice(0).truncated)
  t.ok(truncated.length > 0, 'late subscribers get the rest, marked as truncated')
})

t.test('running jobs that survive a loss of history have no owner, and are orphaned unless a node reports on them', options, async (t) => {
  const { server, broker, node } = await open(t, { stallAfterMs: 1_000 })
  await broker.join(session)
  for (const jobId of ['lost', 'kept']) await broker.publish(session, json('start'), report('start', { jobId }))
  node.onReseed = async () => { await broker.publish(session, json('start again'), { ...report('start', { jobId: 'kept', repeated: true }) }) }
  const before = (await broker.publish(session, json('before'), durable)).epoch
  await becomeAnotherProcess(server)
  const { epoch, seq } = await broker.publish(session, json('after'), durable)
  t.not(epoch, before)
  t.equal(seq, 4, 'the numbers go on')
  t.equal(await broker.adopt(session, 'unknown'), false)
  const { jobId, ownership } = await node.waitFor('the call of orphaned', () => node.all('orphaned')[0])
  t.equal(jobId, 'lost')
  t.match(await broker.publish(session, json('stalled'), report('error', { presumed: true, jobId, ownership })), { jobId: 'lost' })
  t.match(await broker.publish(session, json('end'), report('complete', { jobId: 'kept' })), { jobId: 'kept' })
  t.same(node.all('orphaned').length, 1)
})
