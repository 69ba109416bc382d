import pino from 'pino'
import t from 'tap'
import { describeError } from '../../../lib/jobs/ai-error.js'
import { reportable } from '../../../lib/jobs/ai-error.js'
import { fieldOf, isError, messageOf, readableError } from '../../../lib/util/safe-error.js'
import { safeLogger } from '../../../lib/util/logger.js'
import { captureLog, fakeLogger } from '../../support/log.js'
import { oddErrors } from '../../support/odd-errors.js'
import { createServer } from '../../support/server.js'

t.test('any thrown value can be described', async (t) => {
  for (const [what, make] of Object.entries(oddErrors)) {
    t.type(messageOf(make()), 'string', what)
    t.type(isError(make()), 'boolean')
    const readable = readableError(make())
    t.match(readable, { name: /./, message: String, stack: /./ })
    t.doesNotThrow(() => JSON.stringify([readable.name, readable.message, readable.stack]))
    t.doesNotThrow(() => reportable(make()))
    t.match(isError(make()) ? describeError(make()) : { message: '', type: '' }, { message: String, type: String })
  }
})

t.test('a readable error keeps its message, name and stack', async (t) => {
  const error = Object.assign(new TypeError('m'), { code: 'E' })
  t.equal(messageOf(error), 'm')
  t.equal(isError(error), true)
  t.equal(fieldOf(error, 'code'), 'E')
  t.equal(fieldOf('text', 'length'), undefined)
  t.equal(fieldOf(undefined, 'length'), undefined)
  t.match(readableError(error), { name: 'TypeError', message: 'm', stack: error.stack })
  t.match(readableError(Symbol('s')), { name: 'Error', message: 'Symbol(s)', stack: 'Error: Symbol(s)' })
  t.equal(messageOf({}), 'unknown error')
})

t.test('any thrown value can be logged with a real logger', async (t) => {
  for (const [what, make] of Object.entries(oddErrors)) {
    const { lines, stream } = captureLog()
    const log = safeLogger(pino({ level: 'debug' }, stream))
    log.error({ err: make(), sessionId: 's' }, 'a hook failed')
    t.match(lines, [{ level: 50, msg: 'a hook failed', sessionId: 's' }], what)
  }
})

t.test('a readable error is passed to the app\'s logger unchanged', async (t) => {
  const log = fakeLogger()
  const err = new Error('m')
  safeLogger(log).error({ err }, 'a')
  safeLogger(log).warn({}, 'b')
  safeLogger(log).info({}, 'c')
  safeLogger(log).debug({}, 'd')
  t.equal(log.entries[0]!.fields.err, err)
  t.same(log.entries.map(({ level, message }) => `${level} ${message}`), ['error a', 'warn b', 'info c', 'debug d'])
})

t.test('a logger that throws interrupts no flush, no close and no report', async (t) => {
  const server = createServer({ delivery: { maxOutboxBytes: 64 * 1024 } })
  const slow = await server.connect({ sessionId: 's' })
  const fast = await server.connect({ sessionId: 's' })
  for (const level of ['debug', 'info', 'warn', 'error'] as const) {
    server.log[level] = () => { throw new Error('the disk is full') }
  }
  slow.transport.stalled = true
  slow.transport.writeAheadBytes = 0
  for (let i = 0; i < 4; i++) void server.manager.broadcastToSession('s', { type: 'note', text: 'x'.repeat(40 * 1024) })
  void server.manager.notifyAIComplete('s', { n: 1n })
  t.same(fast.take().map(({ type }) => type), ['note', 'note', 'note', 'note', 'ai_error'])
  t.match(slow.transport.closedWith, { code: 4000 })
  fast.leave()
  t.equal(server.connections.size, 1)
  await server.connect({ sessionId: 's' })
  t.equal(server.connections.size, 2, 'other clients can connect')
})
