import { readFile } from 'node:fs/promises'
import t, { type Test } from 'tap'
import { createPublisher } from '../../lib/redis/index.js'
import { Keys } from '../../lib/redis/keys.js'
import { isReady, startNode, type Node } from '../support/redis-apps.js'
import { startRedis } from '../support/redis-nodes.js'
import { withoutRedis, type RedisServer } from '../support/redis-server.js'
import { RedisWorker, type RemoteCall } from '../support/redis-worker.js'
import { ended, endsOf, follow, jobOf } from '../support/sessions.js'
import { until } from '../support/until.js'
import { connect, open, type Message } from '../support/ws-client.js'

// The function of Redis for workers in other languages.

const options = { skip: withoutRedis, timeout: 25_000 }

async function start (t: Test, settings: Parameters<typeof startNode>[3] = {}): Promise<{ server: RedisServer, a: Node, b: Node, worker: RedisWorker }> {
  const server = await startRedis(t)
  const [a, b] = [await startNode(t, server, 3_000, settings), await startNode(t, server, 3_000, settings)]
  return { server, a, b, worker: new RedisWorker(server) }
}

t.test('the reports of a worker reach the clients of all nodes, in order and once', options, async (t) => {
  const { a, b, worker } = await start(t)
  const clients = [await follow(t, a), await follow(t, b)]
  const ends = clients.map(endsOf)
  t.match(await worker.start('s', 'j', { prompt: 'Tell a story' }), { seq: 1, jobId: 'j', epoch: /^[\w.-]+$/ })
  t.match(await worker.progress('s', 'j', 'Once 💡'.slice(0, -1), 0, { chunksReceived: 1 }), { jobId: 'j', textEnd: 6 })
  t.match(await worker.progress('s', 'j', 'Once 💡 upon', 0), { textEnd: 12 }, 'what was received before is left out')
  t.match(await worker.progress('s', 'j', ' a time'), { textEnd: 19 })
  t.match(await worker.progress('s', 'j', 'later', 30), { dropped: 'gap', textEnd: 19 })
  t.match(await worker.start('s', 'j'), { dropped: 'started' })
  t.match(await worker.call('session:s', { type: 'ai_complete', jobId: 'j', offset: 20 }), { dropped: 'gap', textEnd: 19 }, 'an end waits for the text before it')
  t.match(await worker.progress('s', 'j', '', 20), { dropped: 'gap', textEnd: 19 })
  t.match(await worker.progress('s', 'j', '', 19), { textEnd: 19 })
  t.match(await worker.complete('s', 'j', { chunks: 3, list: [], big: 1.5 }), { seq: 2, jobId: 'j' })
  t.match(await worker.complete('s', 'j'), { dropped: 'ended' })
  for (const client of [...clients, await follow(t, a)]) {
    t.match(await ended(client), { status: 'complete', text: 'Once 💡 upon a time', result: { chunks: 3, list: [], big: 1.5 } })
  }
  t.same(ends, [['ai_complete j'], ['ai_complete j']])
})

t.test('a worker sends the same messages as a node', options, async (t) => {
  const { a, b, worker } = await start(t)
  const session = 'é "💡" \\/ 日本'
  const reader = await connect(t, b.url(`?sessionId=${encodeURIComponent(session)}`))
  const json = { text: 'é "💡" \\ \u007f\u2028', list: [], empty: {}, number: 12_345_678_901_234_567n.toString(), nested: { a: [1, { b: null }] } }
  const without = ({ timestamp, seq, jobId, ...message }: Message): unknown => {
    t.match(timestamp, /^20\d\d-[01]\d-[0-3]\dT[0-2]\d:[0-5]\d:[0-5]\d\.\d{3}Z$/)
    t.ok(Math.abs(Date.parse(String(timestamp)) - Date.now()) < 60_000)
    return message
  }
  const pairs: Array<readonly [byNode: () => Promise<unknown>, byWorker: () => Promise<unknown>]> = [
    [() => a.manager.notifyAIStart(session, json, { jobId: 'n' }), () => worker.start(session, 'w', json)],
    [() => a.manager.notifyAIProgress(session, json, { jobId: 'n' }), () => worker.progress(session, 'w', '', undefined, json)],
    [() => a.manager.notifyAIProgress(session, { delta: 'x💡' }, { jobId: 'n' }), () => worker.progress(session, 'w', 'x💡')],
    [() => a.manager.notifyAIProgress(session, { delta: 'y', ...json }, { jobId: 'n' }), () => worker.progress(session, 'w', 'y', 3, json)],
    [() => a.manager.notifyAIComplete(session, json, { jobId: 'n' }), () => worker.complete(session, 'w', json)],
    [() => a.manager.notifyAIError(session, { message: 'm', type: 'rate_limit_error', ...json }, { jobId: 'n2' }), () => worker.fail(session, 'w2', { message: 'm', type: 'rate_limit_error', ...json })],
    [() => a.manager.notifyAIError(session, { message: 'm', type: 'not_found_error' }, { jobId: 'n3' }), () => worker.fail(session, 'w3', { message: 'm', type: 'not_found_error' })],
    [() => a.manager.notifyAIError(session, { message: 'm', type: 'mine', retryable: true }, { jobId: 'n4' }), () => worker.fail(session, 'w4', { message: 'm', type: 'mine', retryable: true })],
    [() => a.manager.broadcastToSession(session, { type: 'note', ...json }), () => worker.call(`session:${session}`, { json: { type: 'note', ...json } })],
    [() => a.manager.broadcastToSession(session, { type: 'note' }, { durable: false }), () => worker.call(`session:${session}`, { type: 'ephemeral', json: { type: 'note' } })],
    [() => a.manager.broadcastToSession(session, { type: 'batch_update', messages: [] }), () => worker.call(`session:${session}`, { json: { type: 'batch_update', messages: [] } })],
    [() => a.manager.broadcast({ type: 'note', ...json }), () => worker.call('all', { json: { type: 'note', ...json } })]
  ]
  for (const [byNode, byWorker] of pairs) {
    await byNode()
    const expected = await reader.next()
    await byWorker()
    const actual = await reader.next()
    t.same(without(actual), without(expected))
    t.same(Object.keys(actual), Object.keys(expected), 'the fields have the same order')
  }
})

t.test('a message to a user is kept for its clients, if it is not too large', options, async (t) => {
  const { a, worker } = await start(t, { authenticate: () => ({ userId: 'u' }), authorize: () => true, history: { maxBytes: 100_000 } })
  t.match(await worker.call('user:u', { json: '{ "type" : "note", "n" : 1 }' }), { seq: 1 })
  t.match(await worker.call('user:u', { json: { type: 'note', filler: 'x'.repeat(26_000) } }), { seq: 2, kept: false }, 'more than history.maxBytes is not kept')
  t.match(await worker.call('user:u', { json: { type: 'note', n: 2 } }), { seq: 3 })
  const reader = open(t, a.url())
  t.match(await reader.next(), { type: 'connection', user: { seq: 3 } })
  const live = reader.nextOf('note')
  t.match(await worker.call('user:u', { json: { type: 'note', n: 3 } }), { seq: 4 })
  t.match(await live, { n: 3, userSeq: 4 })
})

t.test('progress with empty objects in any form can be extended by its text', options, async (t) => {
  const { a, worker } = await start(t)
  const client = await follow(t, a)
  for (const [at, json] of ['{}', '{ }', '{"a":{ } }', '{"a":"}"}', '{"a":[] }'].entries()) await worker.call('session:s', { type: 'ai_progress', json, jobId: 'j', delta: `${at} ` })
  const points = '1. one., -.2 \\"3.}" 4.5'
  await worker.call('session:s', { type: 'ai_complete', json: `{"points":${JSON.stringify(points)},"n":[-0.5,1.5e3 ] }`, jobId: 'j' })
  t.match(await ended(client), { status: 'complete', text: '0 1 2 3 4 ', result: { points, n: [-0.5, 1500] } })
  await worker.call('session:s', { type: 'ai_error', json: '{"message":"m","type":"api_error" }', jobId: 'k' })
  t.match(await ended(client, 'k'), { error: { message: 'm', type: 'api_error', retryable: true } })
})

t.test('a repeated call with the same key gets the first receipt, and another call with it is refused', options, async (t) => {
  const { a, worker } = await start(t)
  const reader = await connect(t, a.url('?sessionId=s'))
  const note: RemoteCall = { json: { type: 'note', n: 1 }, key: 'key-1' }
  const first = await worker.call('session:s', note)
  t.match(first, { seq: 1, repeated: undefined })
  t.same(await worker.call('session:s', note), { ...first, repeated: true })
  await t.rejects(worker.call('session:s', { json: { type: 'note', n: 2 }, key: 'key-1' }), { message: /^AICWARG another request has used the idempotency key key-1/ })
  t.match(await worker.call('session:t', { json: { type: 'note', n: 2 }, key: 'key-1' }), { seq: 1 }, 'a key belongs to one stream')
  const piece: RemoteCall = { type: 'ai_progress', jobId: 'j', delta: 'once', key: 'key-2' }
  await worker.call('session:s', piece)
  t.match(await worker.call('session:s', piece), { repeated: true, textEnd: 4 })
  await worker.complete('s', 'j')
  t.match(await reader.nextOf('note'), { n: 1 })
  t.match(await reader.nextOf('ai_progress'), { progress: { delta: 'once' } })
  t.match(await reader.nextOf('ai_complete'), {})
})

t.test('a job of a worker that dies ends as stalled once, also if nodes die; a worker that is only slow supersedes that', options, async (t) => {
  const { server, a, b, worker } = await start(t, { jobs: { stallAfterMs: 1_500 } })
  const client = await follow(t, b)
  const ends = endsOf(client)
  await worker.start('s', 'j')
  for (let at = 0; at < 20; at++) await worker.progress('s', 'j', 'x', at)
  const [released] = await server.command('KEYS', '*released') as string[]
  t.equal(await server.command('ZCARD', released!), 1, 'a job is listed once, however often it was reported on')
  await a.close()
  t.match(await ended(client), { status: 'error', error: { type: 'stalled' } })
  t.match(await worker.progress('s', 'j', ' late', 20), { dropped: 'ended' })
  t.match(await worker.complete('s', 'j', { n: 1 }), { jobId: 'j' })
  await until(() => jobOf(client)?.status === 'complete')
  t.match(jobOf(client), { text: `${'x'.repeat(20)} late`, result: { n: 1 } })
  t.same(ends, ['ai_error j', 'ai_complete j'])
})

t.test('a worker takes over the job of a node and a node that of a worker; a cancel calls onCancel', options, async (t) => {
  const cancelled: string[] = []
  const { server, a, b, worker } = await start(t, { allowCancel: true, jobs: { stallAfterMs: 60_000 }, onCancel: ({ jobId }) => { cancelled.push(jobId) } })
  const client = await follow(t, b)
  await a.manager.notifyAIStart('s', {}, { jobId: 'j' })
  await worker.progress('s', 'j', 'Once ')
  const [owned] = await server.command('KEYS', '*}own:*') as string[]
  t.equal(owned, undefined, 'the node does not own the job any more')
  client.cancel('s', 'j')
  await until(() => cancelled.length > 0)
  t.same(cancelled, ['j'])
  await a.manager.notifyAIProgress('s', { delta: 'upon ' }, { jobId: 'j' })
  t.match(await server.command('KEYS', '*}own:*'), [/own/])
  // The node is not told that it has lost the job.
  a.line.vanish('subscriber')
  await worker.progress('s', 'j', 'a time')
  t.match(await worker.start('s', 'j'), { dropped: 'started' })
  await a.close()
  await b.manager.broadcastToSession('s', { type: 'note' })
  t.match(jobOf(client), { status: 'processing' }, 'the node that closes does not end it')
  await worker.complete('s', 'j')
  t.match(await ended(client), { status: 'complete', text: 'Once upon a time' })
})

t.test('after a loss of history a worker is told to read the settings again, and sends its whole text', options, async (t) => {
  const { server, a, b, worker } = await start(t)
  const client = await follow(t, b)
  await worker.start('s', 'j', { prompt: 'p' })
  await worker.progress('s', 'j', 'Once ', 0)
  await server.kill()
  await server.restart()
  await isReady(a, b)
  // Connected again.
  await server.command('PING')
  await t.rejects(worker.start('s', 'j'), { message: /Function not found|AICWGEN/ })
  await until(() => worker.readAccess().then(() => true, () => false))
  t.match(await worker.progress('s', 'j', 'upon ', 5), { dropped: 'gap', textEnd: 0 })
  await worker.start('s', 'j', { prompt: 'p' })
  await worker.progress('s', 'j', 'Once upon ', 0)
  await worker.complete('s', 'j')
  t.match(await ended(client), { status: 'complete', text: 'Once upon ', task: { prompt: 'p' } })

  const stale = worker.access!
  await server.command('DEL', 'aicw:1:{ctl}gen')
  await a.close()
  const c = await startNode(t, server)
  worker.access = stale
  await t.rejects(worker.start('s', 'k'), { message: /^AICWGEN / })
  await worker.readAccess()
  t.match(await worker.start('s', 'k'), { jobId: 'k' })
  await c.close()
})

t.test('a worker needs only the rights that the README names', options, async (t) => {
  const { server, b, worker } = await start(t)
  const client = await follow(t, b)
  await worker.readAccess()
  const text = await readFile(new URL('../../lib/redis/README.md', import.meta.url), 'utf8')
  const rights = text.slice(text.indexOf('- **Rights.**'), text.indexOf('A worker that should not'))
  const commands = [...rights.matchAll(/`([A-Z]+)`/g)].map(([, name]) => `+${name!.toLowerCase()}`)
  const keys = [...rights.matchAll(/`([%R]*[~&].*?)`/g)].map(([, pattern]) => pattern!.replace('<prefix>', 'aicw'))
  t.equal(keys.length, 3)
  await server.command('ACL', 'SETUSER', 'default', 'resetkeys', 'resetchannels', '-@all', ...keys, ...commands)
  await worker.readAccess()
  await worker.start('s', 'j')
  await worker.progress('s', 'j', 'Once ')
  await worker.complete('s', 'j')
  t.match(await ended(client), { status: 'complete' })
})

t.test('a call that is not valid has no effect, and its error names the fix', options, async (t) => {
  const { server, worker } = await start(t)
  const [key, stream] = ['aicw:1:{b12}m:session:s', 'session:s']
  await worker.readAccess()
  const size = await server.command('DBSIZE')
  const of = (type: string, json: string, ...rest: Array<string | Buffer>): [string, string, string, string, ...Array<string | Buffer>] => [key, stream, type, json, ...rest]
  const odd = Buffer.from('odd')
  const error = '{"message":"m","type":"t"}'
  const cases: Array<readonly [args: readonly [string, ...Array<string | Buffer>], message: RegExp]> = [
    [[key, stream], /the arguments are 1, the key, the settings/],
    [['aicw:1:{b3}m:session:s', stream, 'ai_start', '{}', 'j'], /the key of session:s ends with \{b12\}m:session:s/],
    [['session:s', stream, 'ai_start', '{}', 'j'], /the key of session:s ends with/],
    [['aicw:1:{b12}m:session:t', stream, 'ai_start', '{}', 'j'], /the key of session:s ends with/],
    [[key, 'job:s', 'ai_start', '{}', 'j'], /the stream must be session:<id>, user:<id> or all/],
    [[key, 'all', 'ai_start', '{}', 'j'], /the key of all ends with/],
    [[key, 'session:', 'ai_start', '{}', 'j'], /the session id must be 1 to 256 characters/],
    [[key, `session:${'é'.repeat(257)}`, 'ai_start', '{}', 'j'], /the session id must be 1 to 256 characters/],
    [[key, 'session:a\u0085', 'ai_start', '{}', 'j'], /none of them a control character/],
    ...['c3', 'ff', '80', 'c080', 'eda080', 'f4908080', 'f09f', 'c328'].map((hex) => [[key, Buffer.from(`session:${hex}`.replace(hex, '') + Buffer.from(hex, 'hex').toString('latin1'), 'latin1'), 'ai_start', '{}', 'j'], /the session id must be .* in UTF-8/] as const),
    [of('ai_started', '{}', 'j'), /the type must be ai_start, ai_progress, ai_complete, ai_error, message or ephemeral/],
    [of('ai_start', '{}'), /the job id must be/],
    [of('ai_start', '{}', 'a\nb'), /the job id must be/],
    [of('ai_start', '{}', 'x'.repeat(1_000_000)), /the job id must be/],
    [of('ai_complete', '{}', 'j', '', 'x'), /the offset must be an integer/],
    [of('ai_start', '[]', 'j'), /the task must be a JSON object/],
    [of('ai_start', '"{}"', 'j'), /the task must be a JSON object/],
    [of('ai_start', '{', 'j'), /the task must be a JSON object, without anything around it/],
    [of('ai_start', '{"a"}', 'j'), /the task is no JSON: /],
    [of('ai_start', '{}{}', 'j'), /the task is no JSON: /],
    [of('ai_start', '', 'j'), /the task must be a JSON object, without anything around it/],
    [of('ai_start', '{} ', 'j'), /the task must be a JSON object, without anything around it/],
    ...['NaN', 'Infinity', '-Infinity', '01', '0x1', '+1', 'undefined', '\'a\'', '"\\x"'].map((value) => [of('ai_complete', `{"a":${value}}`, 'j'), /the result is no JSON: /] as const),
    ...['1.', '-.5', '1.e5', '[1.]', '1. ', '{"a":2.}'].map((value) => [of('ai_complete', `{"a\\"b.":".","b":${value}}`, 'j'), /the result is no JSON: a number begins or ends with a point/] as const),
    [of('ai_complete', '{"a":\n1}', 'j'), /the result must be JSON in one line/],
    [of('ai_complete', `{"a":"${'x'.repeat(131_072)}"}`, 'j'), /the result is longer than 131072 bytes: store it elsewhere/],
    [of('ai_error', '{}', 'j'), /the error must have a "message", a string/],
    [of('ai_error', '{"message":"m","type":1}', 'j'), /the error must have a "type", a string/],
    [of('ai_error', '{"message":"m","type":"t","retryable":"no"}', 'j'), /"retryable" of the error must be true or false/],
    [of('ai_error', error, 'j', Buffer.from('x', 'utf16le')), /only an ai_progress has a delta/],
    [of('ai_progress', '{"delta":"x"}', 'j'), /the progress must not have a "delta" or an "offset"/],
    [of('ai_progress', '{"offset":null}', 'j'), /the progress must not have a "delta" or an "offset"/],
    [of('ai_progress', '{}', 'j', odd), /the delta must be in UTF-16LE/],
    [of('ai_progress', '{}', 'j', Buffer.alloc(131_074)), /the delta is longer than 65536 UTF-16 units/],
    ...['-1', '1.5', 'x', '1234567890123'].map((offset) => [of('ai_progress', '{}', 'j', Buffer.from('x', 'utf16le'), offset), /the offset must be an integer/] as const),
    [[new Keys('aicw').stream('user:u').metadata, 'user:u', 'ai_start', '{}', 'j'], /a report on a job goes to session:<id>/],
    [of('message', '{}'), /the message must have a "type", a string/],
    [of('message', '{"type":""}'), /the message must have a "type", a string/],
    [of('message', '{"type":"ai_complete"}'), /the type "ai_complete" is reserved/],
    ...['seq', 'userSeq', 'epoch', 'replayed', 'timestamp', 'sessionId'].map((field) => [of('message', `{"type":"note","${field}":null}`), new RegExp(`the field "${field}" of a message is reserved`)] as const),
    [of('message', '{"type":"note"}', 'j'), /only reports on jobs have a job id, a delta or an offset/],
    [of('message', '{"type":"note"}', '', '', '', 'a key'), /the idempotency key must be at most 256 visible ASCII characters/],
    [of('message', '{"type":"note"}', '', '', '', 'x'.repeat(257)), /the idempotency key must be at most 256 visible ASCII characters/]
  ]
  for (const [args, message] of cases) await t.rejects(worker.raw(...args), { message: new RegExp(`^AICWARG .*${message.source}`, 's') }, message.source)
  for (const settings of ['gen node channels 1 1 1 1 1 1', 'gen - x', '']) {
    worker.access = { ...worker.access!, settings }
    await t.rejects(worker.start('s', 'j'), { message: /^AICWARG the settings must be those of the hash that ends with \{ctl\}remote/ })
  }
  t.equal(await server.command('DBSIZE'), size, 'nothing was written')
})

t.test('the bucket of a stream is that of the nodes, whatever its name', options, async (t) => {
  const { a, worker } = await start(t)
  const names = [...Array.from({ length: 40 }, (_, n) => `session ${n}`), 'é', '💡', '\uffff', '\u{10ffff}', 'ab💡cd'.repeat(30)]
  for (const name of names) t.match(await worker.call(`session:${name}`, { json: { type: 'note' } }), { seq: 1 })
  for (const name of names) t.match(await a.manager.broadcastToSession(name, { type: 'note' }), { seq: 2 })
})

t.test('workers get the settings of the app\'s nodes, not those of its publishers, and of nodes that still run', options, async (t) => {
  const { server, a, b, worker } = await start(t, { jobs: { stallAfterMs: 12_345 } })
  const { name, settings } = await worker.readAccess()
  t.match(settings, / 12345$/)
  const publisher = await createPublisher({ redis: { port: server.port } })
  t.same(await worker.readAccess(), { name, settings })
  await publisher.close()
  await server.command('HSET', 'aicw:1:{ctl}remote', 'function', 'of a node that is gone')
  await until(async () => (await worker.readAccess()).name === name)
  await Promise.all([a.close(), b.close()])
  await server.command('DEL', 'aicw:1:{ctl}remote')
  const alone = await createPublisher({ redis: { port: server.port } })
  t.match(await worker.readAccess(), { name, settings: / 600000$/ }, 'without a node, those of a publisher are better than none')
  await alone.close()
})

t.test('a count that is no number of chunks is left out', options, async (t) => {
  const { a, worker } = await start(t)
  const client = await follow(t, a)
  for (const chunks of ['1e999', '-1', '"3"', '9007199254740993']) await worker.call('session:s', { type: 'ai_progress', json: `{"chunksReceived":${chunks}}`, jobId: 'j' })
  await a.manager.notifyAIProgress('s', { chunksReceived: 1 })
  await a.manager.notifyAIComplete('s', { n: 1 })
  t.match(await ended(client), { status: 'complete', result: { n: 1 } })
})
