import t from 'tap'
import { createServer } from '../../support/server.js'

/** The broker's expiry timer, which runs as long as it keeps messages. */
const BROKERS_OWN = 1

t.test('a batcher', async (t) => {
  t.test('sends the waiting messages once per interval, as one message', async (t) => {
    const server = createServer()
    const peer = await server.connect({ sessionId: 's' })
    const batcher = server.manager.createBatcher('s')
    batcher.push({ line: 1 })
    server.clock.advance(60)
    batcher.push({ line: 2 })
    server.clock.advance(39)
    t.strictSame(peer.take(), [], 'the first waits 100 ms at most')
    server.clock.advance(1)
    t.strictSame(peer.take(), [{
      type: 'batch_update', sessionId: 's', messages: [{ line: 1 }, { line: 2 }], timestamp: new Date(server.clock.now()).toISOString()
    }])
    t.equal(server.clock.pending, BROKERS_OWN, 'and without messages there is no timer')
    batcher.push({ line: 3 })
    server.clock.advance(100)
    t.match(peer.take(), [{ messages: [{ line: 3 }] }])
  })

  t.test('uses the given interval', async (t) => {
    const server = createServer()
    const peer = await server.connect({ sessionId: 's' })
    server.manager.createBatcher('s', { intervalMs: 500 }).push({})
    server.clock.advance(499)
    t.equal(peer.take().length, 0)
    server.clock.advance(1)
    t.equal(peer.take().length, 1)
  })

  t.test('rejects an invalid interval', async (t) => {
    const { manager } = createServer()
    for (const intervalMs of [0, -1, NaN, null as never, 'soon' as never]) {
      t.throws(() => manager.createBatcher('s', { intervalMs }), {
        code: 'AICW_ERR_INVALID_OPTION', message: 'option "intervalMs" must be a number of milliseconds above 0'
      })
    }
  })

  t.test('sends a large batch at once, also without an interval', async (t) => {
    for (const intervalMs of [100, Infinity]) {
      const server = createServer()
      const peer = await server.connect({ sessionId: 's' })
      const batcher = server.manager.createBatcher('s', { intervalMs })
      for (let line = 0; line < 2_500; line++) batcher.push({ line })
      t.match(peer.take().map(({ messages }) => (messages as object[]).length), [1_000, 1_000], `each ${intervalMs} ms`)
      batcher.flush()
      t.match(peer.take().map(({ messages }) => (messages as object[]).length), [500])
      const text = 'x'.repeat(100 * 1024)
      for (let line = 0; line < 7; line++) batcher.push({ line, text })
      t.match(peer.take().map(({ messages }) => (messages as object[]).length), [3, 3])
      batcher.push({ text: text.repeat(4) })
      t.match(peer.take().map(({ messages }) => (messages as object[]).length), [2], 'and the count restarts with each batch')
      t.equal(server.clock.pending, BROKERS_OWN)
      batcher.push({ last: true })
      t.equal(server.clock.pending, intervalMs === Infinity ? BROKERS_OWN : BROKERS_OWN + 1)
      batcher.close()
      t.match(peer.take(), [{ messages: [{ last: true }] }])
    }
  })

  t.test('sends at once on flush', async (t) => {
    const server = createServer()
    const peer = await server.connect({ sessionId: 's' })
    const batcher = server.manager.createBatcher('s')
    batcher.flush()
    t.strictSame(peer.take(), [], 'an empty batch is not sent')
    batcher.push({ line: 1 })
    batcher.flush()
    t.match(peer.take(), [{ messages: [{ line: 1 }] }])
    t.equal(server.clock.pending, BROKERS_OWN)
    server.clock.advance(100)
    t.strictSame(peer.take(), [])
  })

  t.test('serializes a message when it is pushed', async (t) => {
    const server = createServer()
    const peer = await server.connect({ sessionId: 's' })
    const batcher = server.manager.createBatcher('s')
    const message = { line: 1 }
    batcher.push(message)
    message.line = 2
    batcher.flush()
    t.match(peer.take(), [{ messages: [{ line: 1 }] }])
  })

  t.test('throws at once for a message that can\'t be sent, and keeps the others', async (t) => {
    const server = createServer()
    const peer = await server.connect({ sessionId: 's' })
    const batcher = server.manager.createBatcher('s')
    batcher.push({ line: 1 })
    for (const bad of [null, 'text', [], undefined]) {
      t.throws(() => { batcher.push(bad as never) }, { code: 'AICW_ERR_INVALID_MESSAGE' })
    }
    t.throws(() => { batcher.push({ n: 1n }) }, { code: 'AICW_ERR_NOT_SERIALIZABLE' })
    batcher.flush()
    t.match(peer.take(), [{ messages: [{ line: 1 }] }])
  })

  t.test('sends the waiting messages on close, and then throws', async (t) => {
    const server = createServer()
    const peer = await server.connect({ sessionId: 's' })
    const batcher = server.manager.createBatcher('s')
    batcher.push({ line: 1 })
    batcher.close()
    t.match(peer.take(), [{ messages: [{ line: 1 }] }])
    t.throws(() => { batcher.push({}) }, { code: 'AICW_ERR_BATCHER_CLOSED', message: /createBatcher/ })
    batcher.close()
    t.strictSame(peer.take(), [])
    t.equal(server.clock.pending, BROKERS_OWN)
  })

  t.test('is closed with its manager', async (t) => {
    const server = createServer()
    const peer = await server.connect({ sessionId: 's' })
    const batchers = [server.manager.createBatcher('s'), server.manager.createBatcher('s')]
    for (const [line, batcher] of batchers.entries()) batcher.push({ line })
    server.manager.close()
    t.match(peer.take(), [{ messages: [{ line: 0 }] }, { messages: [{ line: 1 }] }])
    t.throws(() => { batchers[0]!.push({}) }, { code: 'AICW_ERR_BATCHER_CLOSED' })
    t.equal(server.clock.pending, BROKERS_OWN)
  })

  t.test('keeps the order with other messages of its session', async (t) => {
    const server = createServer()
    const peer = await server.connect({ sessionId: 's' })
    const batcher = server.manager.createBatcher('s')
    void server.manager.notifyAIStart('s', {})
    batcher.push({})
    batcher.flush()
    void server.manager.notifyAIComplete('s', {})
    t.strictSame(peer.take().map(({ type }) => type), ['ai_start', 'batch_update', 'ai_complete'])
  })

  t.test('sends valid JSON for unusual session ids', async (t) => {
    const server = createServer()
    const peer = await server.connect({ sessionId: '"},{\\' })
    const batcher = server.manager.createBatcher('"},{\\')
    batcher.push({})
    batcher.flush()
    t.match(peer.take(), [{ sessionId: '"},{\\' }])
  })
})
