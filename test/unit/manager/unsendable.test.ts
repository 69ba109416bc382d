import t from 'tap'
import { turn } from '../../support/hand-broker.js'
import { createFarServer, createServer } from '../../support/server.js'

const cycle: Record<string, unknown> = {}
cycle.self = cycle
const revoked = Proxy.revocable({}, {})
revoked.revoke()

const NOT_SERIALIZABLE = 'AICW_ERR_NOT_SERIALIZABLE'
const INVALID_MESSAGE = 'AICW_ERR_INVALID_MESSAGE'

/** Ends that JSON can't represent, and invalid ends. */
const ends: Record<string, [value: unknown, code: string]> = {
  'a BigInt': [{ n: 1n }, NOT_SERIALIZABLE],
  'a cycle': [cycle, NOT_SERIALIZABLE],
  'a getter that throws': [{ get text () { throw new Error('secret') } }, NOT_SERIALIZABLE],
  'chunks that can\'t be read': [{ get chunks () { throw new Error('secret') } }, NOT_SERIALIZABLE],
  'a toJSON that throws': [{ toJSON: () => { throw new Error('secret') } }, NOT_SERIALIZABLE],
  'a toJSON that throws a symbol': [{ toJSON: () => { throw Symbol('secret') as unknown as Error } }, NOT_SERIALIZABLE],
  'a toJSON that throws something without a prototype': [{ toJSON: () => { throw Object.create(null) as Error } }, NOT_SERIALIZABLE],
  'a toJSON that throws what can\'t be read': [{ toJSON: () => { throw revoked.proxy as Error } }, NOT_SERIALIZABLE],
  'a toJSON that answers a text': [{ toJSON: () => 'text' }, INVALID_MESSAGE],
  'a toJSON deep inside that throws': [{ at: { toJSON: () => { throw new Error('secret') } } }, NOT_SERIALIZABLE],
  'a revoked proxy': [revoked.proxy, NOT_SERIALIZABLE],
  'null': [null, INVALID_MESSAGE],
  'nothing': [undefined, INVALID_MESSAGE],
  'a text': ['done', INVALID_MESSAGE],
  'an array': [['done'], INVALID_MESSAGE],
  'a number': [7, INVALID_MESSAGE],
  'a function': [() => 7, INVALID_MESSAGE]
}
/** Unusual but valid descriptions of errors. */
const describable = new Set(['null', 'nothing', 'a text', 'an array', 'a number', 'a function', 'a toJSON that answers a text', 'chunks that can\'t be read'])

const unsendable = { message: 'the job has ended, but its result can\'t be written as JSON', type: 'internal_error' }

t.test('an end that can\'t be sent still ends the job, once, and rejects', async (t) => {
  for (const [what, [value, code]] of Object.entries(ends)) {
    for (const name of ['notifyAIComplete', 'notifyAIError', 'complete', 'error'] as const) {
      if (name.toLowerCase().includes('error') && describable.has(what)) continue
      const server = createServer()
      const peer = await server.connect({ sessionId: 's' })
      const job = server.manager.startAI('s', {})
      const ended = name.startsWith('notify')
        ? server.manager[name as 'notifyAIComplete']('s', value as never)
        : job[name as 'complete'](value as never)
      t.match(peer.take(), [{ type: 'ai_start' }, { type: 'ai_error', jobId: job.jobId, error: unsendable }], `${name}: ${what}`)
      await t.rejects(ended, { code })
      t.strictSame(await job.complete({}), { epoch: job.jobId && (await job.started).epoch, seq: 2, recipients: 0, dropped: 'ended' }, 'nothing follows it')
      t.equal(server.notifier.watched('s', job.jobId), undefined)
      t.equal(await server.manager.cancelAI('s'), false)
      t.same(peer.take(), [])
      t.notMatch(JSON.stringify(peer.transport.texts), /secret/)
      t.equal(server.manager.getMetrics().failed, 1)
    }
  }
})

t.test('it needs neither a start nor a job id, and a job that has ended is not ended twice', async (t) => {
  const server = createServer()
  const peer = await server.connect({ sessionId: 's' })
  await t.rejects(server.manager.notifyAIComplete('s', { n: 1n }))
  t.match(peer.take(), [{ type: 'ai_error', error: unsendable }])
  await server.manager.notifyAIComplete('s', {}, { jobId: 'j' })
  await t.rejects(server.manager.notifyAIComplete('s', { n: 1n }, { jobId: 'j' }))
  t.match(peer.take(), [{ type: 'ai_complete', jobId: 'j' }])
  await t.rejects(server.manager.notifyAIComplete('', { n: 1n }), { code: 'AICW_ERR_INVALID_ID' })
  await t.rejects(server.manager.notifyAIComplete('s', { n: 1n }, { jobId: '' }), { code: 'AICW_ERR_INVALID_ID' })
  await t.rejects(server.manager.notifyAIStart('s', { n: 1n }))
  await t.rejects(server.manager.notifyAIProgress('s', { n: 1n }))
  t.same(peer.take(), [])
  void server.manager.close()
  await t.rejects(server.manager.notifyAIComplete('s', { n: 1n }, { jobId: 'k' }))
  t.same(peer.take(), [])
})

t.test('if the broker fails then too, the end is published again', async (t) => {
  const server = createFarServer({ jobs: { stallAfterMs: 1_000 } })
  const peer = await server.connect({ sessionId: 's' })
  const job = server.manager.startAI('s', {})
  server.broker.answer()
  await turn()
  peer.take()
  await t.rejects(job.complete({ n: 1n }), { code: NOT_SERIALIZABLE })
  server.broker.fail('publish session:s')
  await turn()
  server.clock.advance(50)
  server.broker.answer('publish session:s')
  await turn()
  t.match(peer.take(), [{ type: 'ai_error', jobId: job.jobId, error: unsendable }])
})

t.test('a tracked job whose result can\'t be sent has one end', async (t) => {
  for (const [what, [value]] of Object.entries(ends)) {
    const server = createServer()
    const peer = await server.connect({ sessionId: 's' })
    let text = ''
    for await (const chunk of server.manager.trackAI('s', {}, ['a', 'b'], { result: () => value as never })) text += chunk
    t.equal(text, 'ab', 'the reader has the whole text')
    await turn()
    t.match(peer.take().slice(-1), [{ type: 'ai_error', error: unsendable }], what)
    t.equal(peer.transport.texts.filter((each) => /"ai_(?:complete|error)"/.test(each)).length, 1)
  }
})
