import t from 'tap'
import { errors } from '../../../lib/util/errors.js'
import type { WebSocketManager } from '../../../lib/manager/manager.js'
import type { AppMessage } from '../../../lib/connections/app-message.js'
import type { Receipt } from '../../../lib/manager/notifier.js'
import { turn } from '../../support/hand-broker.js'
import { createFarServer, createServer } from '../../support/server.js'

/** Every method that sends a message, with a given body. */
const ways: Record<string, (manager: WebSocketManager, body: never) => Promise<Receipt>> = {
  notifyAIStart: (manager, body) => manager.notifyAIStart('s', body),
  notifyAIProgress: (manager, body) => manager.notifyAIProgress('s', body),
  notifyAIComplete: (manager, body) => manager.notifyAIComplete('s', body),
  notifyAIError: (manager, body) => manager.notifyAIError('s', body),
  broadcastToSession: (manager, body) => manager.broadcastToSession('s', body),
  broadcastToUser: (manager, body) => manager.broadcastToUser('u', body),
  broadcast: (manager, body) => manager.broadcast(body)
}

t.test('the messages of a job are as documented', async (t) => {
  const server = createServer()
  const peer = await server.connect({ sessionId: 'session_123' })
  const timestamp = new Date(server.clock.now()).toISOString()
  const { manager } = server
  void manager.notifyAIStart('session_123', { prompt: 'Create a React component', mode: 'generate', targetFile: 'src/Component.tsx' })
  void manager.notifyAIProgress('session_123', { chunksReceived: 25, contentLength: 1250 })
  void manager.notifyAIComplete('session_123', { mode: 'generate', contentLength: 5000, chunks: 100, targetFile: 'src/Component.tsx' })
  void manager.notifyAIError('session_123', { message: 'API rate limit exceeded', type: 'rate_limit_error' })
  const [first, , , second] = peer.take().map(({ jobId }) => jobId as string)
  t.not(first, second, 'an end without a start is a separate job')
  t.strictSame(peer.transport.texts.slice(1), [
    `{"type":"ai_start","sessionId":"session_123","task":{"prompt":"Create a React component","mode":"generate","targetFile":"src/Component.tsx"},"timestamp":"${timestamp}","jobId":"${first!}","seq":1}`,
    `{"type":"ai_progress","sessionId":"session_123","progress":{"chunksReceived":25,"contentLength":1250},"timestamp":"${timestamp}","jobId":"${first!}"}`,
    `{"type":"ai_complete","sessionId":"session_123","result":{"mode":"generate","contentLength":5000,"chunks":100,"targetFile":"src/Component.tsx"},"timestamp":"${timestamp}","jobId":"${first!}","seq":2}`,
    `{"type":"ai_error","sessionId":"session_123","error":{"message":"API rate limit exceeded","type":"rate_limit_error","retryable":true},"timestamp":"${timestamp}","jobId":"${second!}","seq":3}`
  ])
})

t.test('fields of the app\'s own pass through', async (t) => {
  const server = createServer()
  const peer = await server.connect({ sessionId: 's', userId: 'u' })
  const { manager } = server
  const own = { deep: { list: [1, null, 'ä'] }, timestamp: 'mine', seq: 'mine' }
  void manager.notifyAIStart('s', own)
  void manager.notifyAIProgress('s', own)
  void manager.notifyAIComplete('s', own)
  void manager.notifyAIError('s', { message: 'm', type: 't', ...own })
  void manager.broadcastToSession('s', { type: 'note', deep: own.deep })
  void manager.broadcastToUser('u', { type: 'note', deep: own.deep })
  void manager.broadcast({ type: 'note', deep: own.deep })
  t.match(peer.take(), [
    { task: own }, { progress: own }, { result: own }, { error: own }, { deep: own.deep }, { deep: own.deep }, { deep: own.deep }
  ])
})

t.test('a delta that is not a string is ignored, and inherited fields are not sent', async (t) => {
  const server = createServer()
  const peer = await server.connect({ sessionId: 's' })
  const { manager } = server
  for (const delta of [7, null, ['a'], { text: 'a' }]) void manager.notifyAIProgress('s', { chunksReceived: 1, delta: delta as never, offset: 3 })
  void manager.notifyAIProgress('s', Object.assign(Object.create({ delta: 'inherited' }) as object, { chunksReceived: 2 }))
  t.strictSame(peer.take().map(({ progress }) => progress as unknown), [...Array<object>(4).fill({ chunksReceived: 1 }), { chunksReceived: 2 }])
})

t.test('only the message and type of an Error are sent', async (t) => {
  const server = createServer()
  const peer = await server.connect({ sessionId: 's' })
  void server.manager.notifyAIError('s', Object.assign(new Error('too many'), { status: 429, headers: { authorization: 'secret' } }))
  const [message] = peer.take()
  t.strictSame(message!.error, { message: 'too many', type: 'rate_limit_error', retryable: true })
})

t.test('broadcasts', async (t) => {
  t.test('go to a session, with its id', async (t) => {
    const server = createServer()
    const [inside, outside] = [await server.connect({ sessionId: 's' }), await server.connect({ sessionId: 'x' })]
    t.match(await server.manager.broadcastToSession('s', { type: 'note', sessionId: 's' }), { seq: 1, recipients: 1 })
    t.match(await server.manager.broadcastToSession('s', { type: 'note' }), { seq: 2, recipients: 1 })
    t.match(inside.take(), [{ type: 'note', sessionId: 's', seq: 1 }, { type: 'note', sessionId: 's', seq: 2 }])
    t.match(await server.manager.broadcastToSession('s', { type: 'batch_update', messages: [1, 2] }), { seq: 2, recipients: 1 })
    const [batch] = inside.take()
    t.match(batch, { type: 'batch_update', sessionId: 's', messages: [1, 2] })
    t.notOk('seq' in batch!, 'a batch is ephemeral, like its messages')
    t.strictSame(outside.take(), [])
  })

  t.test('go to a user, whatever sessions its clients are subscribed to', async (t) => {
    const server = createServer()
    const tabs = [await server.connect({ userId: 'u' }), await server.connect({ userId: 'u', sessionId: 's' })]
    const other = await server.connect({ userId: 'v', sessionId: 's' })
    t.match(await server.manager.broadcastToUser('u', { type: 'notification', message: 'New update available', sessionId: 'any' }), { recipients: 2 })
    for (const tab of tabs) {
      const [message, ...more] = tab.take()
      t.match(message, { type: 'notification', message: 'New update available', sessionId: 'any', userSeq: 1, timestamp: /Z$/ })
      t.notOk('seq' in message!)
      t.strictSame(more, [])
    }
    t.strictSame(other.take(), [])
  })

  t.test('go to all clients, without a sequence number', async (t) => {
    const server = createServer()
    const peers = [await server.connect({ userId: 'u' }), await server.connect({ sessionId: 's' }), await server.connect()]
    t.match(await server.manager.broadcast({ type: 'news' }), { seq: 0, recipients: 3 })
    for (const peer of peers) {
      const [message] = peer.take()
      t.strictSame(Object.keys(message!), ['type', 'timestamp'])
    }
  })
})

t.test('receipts have the position of a message and the number of recipients', async (t) => {
  const server = createServer()
  await server.connect({ sessionId: 's' })
  await server.connect({ sessionId: 's' })
  const { manager } = server
  const started = await manager.notifyAIStart('s', {})
  t.match(started, { seq: 1, recipients: 2 })
  const { epoch, jobId } = started
  t.type(jobId, 'string')
  t.strictSame(await manager.notifyAIProgress('s', {}), { epoch, seq: 1, recipients: 2, jobId }, 'progress is not numbered')
  t.strictSame(await manager.notifyAIComplete('s', {}), { epoch, seq: 2, recipients: 2, jobId })
  t.match(await manager.notifyAIStart('nobody', {}), { seq: 1, recipients: 0 }, 'no subscribers is not an error')
})

t.test('messages and replies are sent in the order of the calls', async (t) => {
  const server = createServer()
  const peer = await server.connect({ sessionId: 's', userId: 'u' })
  const { manager } = server
  void manager.notifyAIStart('s', {})
  peer.send({ type: 'ping' })
  void manager.broadcastToUser('u', { type: 'a' })
  void manager.notifyAIProgress('s', {})
  void manager.broadcast({ type: 'b' })
  peer.send({ type: 'unsubscribe' })
  void manager.notifyAIComplete('s', {})
  t.strictSame(peer.take().map(({ type }) => type), ['ai_start', 'pong', 'a', 'ai_progress', 'b', 'unsubscribed'])
})

t.test('for a slow consumer, only progress is replaced by newer progress of its session', async (t) => {
  const server = createServer()
  const peer = await server.connect({ sessionId: 's' })
  peer.ask({ type: 'subscribe', sessionId: 'x' })
  peer.transport.writeAheadBytes = 0
  const { manager } = server
  void manager.notifyAIStart('s', {})
  for (let chunksReceived = 1; chunksReceived <= 5; chunksReceived++) void manager.notifyAIProgress('s', { chunksReceived })
  void manager.notifyAIProgress('x', { chunksReceived: 1 })
  for (let i = 0; i < 2; i++) void manager.broadcastToSession('s', { type: 'note' })
  void manager.broadcast({ type: 'news' })
  void manager.broadcast({ type: 'news' })
  server.clock.tick()
  t.equal(manager.getMetrics().collapsed, 4)
  peer.transport.writeAheadBytes = Infinity
  peer.transport.drain()
  t.match(peer.take(), [
    { type: 'ai_start' }, { type: 'ai_progress', progress: { chunksReceived: 5 } }, { type: 'ai_progress', sessionId: 'x' },
    { type: 'note' }, { type: 'note' }, { type: 'news' }, { type: 'news' }
  ])
})

const unsendable = { message: 'the job has ended, but its result can\'t be written as JSON', type: 'internal_error' }

t.test('a message that can\'t be serialized rejects, and nothing is sent', async (t) => {
  const cycle: AppMessage = { type: 'note', message: 'm' }
  cycle.self = cycle
  const unwritable: Record<string, object> = {
    'a cycle': cycle,
    'a BigInt': { type: 'note', message: 'm', n: 1n },
    'a toJSON that throws': { type: 'note', message: 'm', at: { toJSON: () => { throw new Error('no') } } },
    'a getter that throws': { type: 'note', message: 'm', get at () { throw new Error('no') } },
    'a getter that throws nothing': { type: 'note', message: 'm', get at () { throw undefined as unknown as Error } },
    'a getter that throws, deep inside': { type: 'note', message: 'm', deep: { get at () { throw new Error('no') } } },
    'a type that can\'t be read': { get type () { throw new Error('no') } , message: 'm' },
    'a message that can\'t be read': { get message () { throw new Error('no') }, type: 'note' },
    'a toJSON of its own that throws': { type: 'note', message: 'm', toJSON: () => { throw new Error('no') } },
    'a toJSON that can\'t be read': { type: 'note', message: 'm', get toJSON () { throw new Error('no') } }
  }
  for (const [what, body] of Object.entries(unwritable)) {
    for (const [name, tell] of Object.entries(ways)) {
      const server = createServer()
      const peer = await server.connect({ userId: 'u', sessionId: 's' })
      await t.rejects(tell(server.manager, body as never), {
        code: 'AICW_ERR_NOT_SERIALIZABLE', message: /can't be written as JSON \(.+\): pass plain data.*nothing was sent/, statusCode: 400
      }, `${name}: ${what}`)
      // An end is an end: the job fails, and nobody waits for it any more.
      const isEnd = name === 'notifyAIComplete' || name === 'notifyAIError'
      t.match(peer.take(), isEnd ? [{ type: 'ai_error', error: unsendable }] : [])
      t.equal(server.manager.getMetrics().failed, 1)
      t.match(server.log.entries.at(-1), { level: 'error', message: 'a notification failed', fields: { what: /./ } })
    }
  }
})

t.test('toJSON decides what is sent, as in JSON.stringify', async (t) => {
  class Note {
    readonly #text = 'hello'
    toJSON (): object { return { type: 'note', message: this.#text } }
  }
  const server = createServer()
  const peer = await server.connect({ userId: 'u', sessionId: 's' })
  for (const [name, tell] of Object.entries(ways)) {
    await tell(server.manager, new Note() as never)
    const [message] = peer.take()
    const { task, progress, result, error } = message!
    t.match((task ?? progress ?? result ?? error ?? message) as object, { type: 'note', message: 'hello' }, name)
  }
})

t.test('a toJSON that returns no object makes the message invalid', async (t) => {
  const bodies: Record<string, object> = {
    'a Date': new Date(0),
    'nothing': { type: 'note', toJSON: () => undefined },
    'a text': { type: 'note', toJSON: () => 'text' },
    'an array': { type: 'note', toJSON: () => [] },
    'null': { type: 'note', toJSON: () => null }
  }
  for (const [what, body] of Object.entries(bodies)) {
    for (const [name, tell] of Object.entries(ways)) {
      if (name === 'notifyAIError') continue
      const server = createServer()
      const peer = await server.connect({ userId: 'u', sessionId: 's' })
      await t.rejects(tell(server.manager, body as never), { code: 'AICW_ERR_INVALID_MESSAGE', message: /must be an object/ }, `${name}: ${what}`)
      t.match(peer.take(), name === 'notifyAIComplete' || name === 'notifyAIError' ? [{ type: 'ai_error', error: unsendable }] : [])
    }
  }
  const server = createServer()
  const peer = await server.connect({ userId: 'u', sessionId: 's' })
  for (const body of Object.values(bodies)) await server.manager.notifyAIError('s', body as never)
  t.strictSame(peer.take().map(({ error }) => error as unknown), [
    '1970-01-01T00:00:00.000Z', 'unknown error', 'text', 'unknown error', 'unknown error'
  ].map((message) => ({ message, type: 'internal_error', retryable: true })), 'but the failure itself is reported')

  let asked = 0
  const late = { type: 'note', get toJSON () { return asked++ < 1 ? undefined : () => 'text' } }
  await t.rejects(server.manager.broadcast(late as never), { code: 'AICW_ERR_NOT_SERIALIZABLE', message: /does not return an object/ })
})

t.test('toJSON is called once, as in JSON.stringify', async (t) => {
  const server = createServer()
  const peer = await server.connect({ sessionId: 's' })
  const twice = (fields: object): object => ({ toJSON: () => ({ ...fields, toJSON: () => 5 }) })
  await server.manager.notifyAIError('s', twice({ message: 'm', type: 't' }) as never)
  await server.manager.notifyAIComplete('s', twice({ chunks: 1 }) as never)
  await server.manager.broadcastToSession('s', twice({ type: 'note' }) as never)
  t.match(peer.take(), [{ error: { message: 'm', type: 't' } }, { result: { chunks: 1 } }, { type: 'note' }])
})

t.test('unreadable options reject, and null counts as no options', async (t) => {
  const { manager } = createServer()
  const odd = { get jobId (): string { throw new Error('no') }, get durable (): boolean { throw new Error('no') } }
  const broken = { code: 'AICW_ERR_INVALID_OPTION', message: /can't be read: no/ }
  await t.rejects(manager.notifyAIStart('s', {}, odd), broken)
  await t.rejects(manager.notifyAIProgress('s', {}, odd), broken)
  await t.rejects(manager.notifyAIComplete('s', {}, odd), broken)
  await t.rejects(manager.notifyAIError('s', new Error('e'), odd), broken)
  await t.rejects(manager.cancelAI('s', odd), broken)
  await t.rejects(manager.cancelAI('s', { jobId: Proxy.revocable({}, {}).proxy as never }), { code: 'AICW_ERR_INVALID_ID' })
  await t.rejects(manager.broadcastToSession('s', { type: 'note' }, odd), broken)
  await t.rejects(manager.broadcastToUser('u', { type: 'note' }, odd), broken)
  const job = manager.startAI('s', {}, odd)
  t.match(await job.started, { jobId: job.jobId }, 'a job without a readable id gets a generated one')
  const none = null as never
  t.match(await manager.notifyAIStart('s', {}, none), { recipients: 0 })
  t.match(await manager.broadcastToUser('u', { type: 'note' }, none), { seq: 1 })
  t.match(await manager.startAI('s', {}, none).started, { recipients: 0 })
})

t.test('the toJSON of an Error is not called, because some reveal everything', async (t) => {
  const server = createServer()
  const peer = await server.connect({ sessionId: 's' })
  await server.manager.notifyAIError('s', Object.assign(new Error('failed'), { toJSON: () => ({ message: 'm', authorization: 'secret' }) }))
  t.strictSame(peer.take()[0]!.error, { message: 'failed', type: 'internal_error', retryable: true })
})

t.test('toJSON can\'t set the server\'s fields', async (t) => {
  const { manager } = createServer()
  await t.rejects(manager.broadcast({ type: 'note', toJSON: () => ({ type: 'ai_complete' }) }), { code: 'AICW_ERR_INVALID_MESSAGE' })
  await t.rejects(manager.broadcast({ type: 'note', toJSON: () => ({ type: 'note', seq: 7 }) }), { code: 'AICW_ERR_INVALID_MESSAGE' })
  await t.rejects(manager.broadcast({ type: 'note', toJSON: () => ({}) }), { code: 'AICW_ERR_INVALID_MESSAGE' })
})

t.test('an invalid message rejects', async (t) => {
  const { manager } = createServer()
  for (const body of [null, undefined, 'text', 5, true, [], Symbol('s'), () => undefined]) {
    for (const [name, tell] of Object.entries(ways)) {
      if (name === 'notifyAIError') continue
      await t.rejects(tell(manager, body as never), { code: 'AICW_ERR_INVALID_MESSAGE', message: /must be an object/ }, name)
    }
  }
  for (const type of [undefined, null, '', 5, ['note'], {}]) {
    await t.rejects(manager.broadcast({ type } as never), { code: 'AICW_ERR_INVALID_MESSAGE', message: /needs a string "type"/ })
  }
  await t.rejects(manager.broadcast(Object.create({ type: 'inherited' }) as never), { code: 'AICW_ERR_INVALID_MESSAGE' },
    'what JSON leaves out is not there')
})

t.test('reserved types and fields reject', async (t) => {
  const { manager } = createServer()
  for (const type of ['connection', 'pong', 'subscribed', 'unsubscribed', 'error', 'ai_start', 'ai_progress', 'ai_complete', 'ai_error']) {
    await t.rejects(manager.broadcast({ type }), { code: 'AICW_ERR_INVALID_MESSAGE', message: new RegExp(`"${type}".*notifyAI`) })
  }
  for (const field of ['seq', 'userSeq', 'epoch', 'replayed']) {
    await t.rejects(manager.broadcast({ type: 'note', [field]: undefined }), { code: 'AICW_ERR_INVALID_MESSAGE', message: new RegExp(`"${field}"`) })
  }
  await t.rejects(manager.broadcastToSession('s', { type: 'note', sessionId: 'x' }), { code: 'AICW_ERR_INVALID_MESSAGE', message: /differs from the session/ })
  await t.rejects(manager.broadcastToSession('s', { type: 'note', sessionId: null }), { code: 'AICW_ERR_INVALID_MESSAGE' })
  await manager.broadcastToSession('s', { type: 'note', sessionId: undefined })
})

t.test('invalid ids reject', async (t) => {
  const { manager } = createServer()
  for (const value of [undefined, null, '', 5, {}, ['s'], Symbol('s'), 'a\nb', '\ud800', 'x'.repeat(257)]) {
    const id = value as never
    for (const promise of [
      manager.notifyAIStart(id, {}), manager.notifyAIProgress(id, {}), manager.notifyAIComplete(id, {}),
      manager.notifyAIError(id, new Error('e')), manager.broadcastToSession(id, { type: 'note' })
    ]) await t.rejects(promise, { code: 'AICW_ERR_INVALID_ID', message: /^sessionId must be a string of 1 to 256/ })
    await t.rejects(manager.broadcastToUser(id, { type: 'note' }), { code: 'AICW_ERR_INVALID_ID', message: /^userId must be/ })
    await t.rejects(manager.revoke(id), { code: 'AICW_ERR_INVALID_ID', message: /^userId/ })
    if (value !== undefined) await t.rejects(manager.revoke('u', id), { code: 'AICW_ERR_INVALID_ID', message: /^sessionId/ })
    t.throws(() => manager.createBatcher(id), { code: 'AICW_ERR_INVALID_ID' })
  }
})

t.test('not awaiting is safe', async (t) => {
  const unhandled: unknown[] = []
  const listen = (reason: unknown): void => { unhandled.push(reason) }
  process.on('unhandledRejection', listen)
  t.teardown(() => { process.off('unhandledRejection', listen) })

  const server = createFarServer()
  for (const tell of Object.values(ways)) void tell(server.manager, null as never)
  for (const tell of Object.values(ways)) void tell(server.manager, { type: 'note', message: 'm' } as never)
  void server.manager.revoke('')
  void server.manager.revoke('u')
  server.broker.fail('revoke')
  while (server.broker.waiting.length > 0) server.broker.fail(server.broker.waiting[0])
  await turn()
  await turn()
  t.strictSame(unhandled, [])
  // Ends are published again instead: two, and those in the place of the two that can't be written.
  t.equal(server.manager.getMetrics().failed, 2 * Object.keys(ways).length + 2 + 1 - 4, 'and each is counted')
})

t.test('a failure of the broker rejects', async (t) => {
  const server = createFarServer()
  const receipt = server.manager.notifyAIStart('s', {})
  server.broker.fail('publish session:s')
  await t.rejects(receipt, { message: 'the broker is away' })
  const revoked = server.manager.revoke('u')
  server.broker.fail('revoke')
  await t.rejects(revoked, { message: 'the broker is away' })

  t.capture(server.broker, 'publish', () => { throw new Error('thrown') })
  await t.rejects(server.manager.notifyAIStart('s', {}), { message: 'thrown' }, 'a throw becomes a rejection')
})

t.test('after close', async (t) => {
  const server = createServer()
  const peer = await server.connect({ sessionId: 's', userId: 'u' })
  server.manager.close()
  for (const [name, tell] of Object.entries(ways)) {
    t.strictSame(await tell(server.manager, { type: 'note', message: 'm' } as never), { recipients: 0 }, name)
  }
  await server.manager.revoke('u')
  t.equal(peer.transport.closedWith, undefined)
  t.strictSame(peer.take(), [])
  await t.rejects(server.manager.notifyAIStart('s', null as never), { code: 'AICW_ERR_INVALID_MESSAGE' }, 'invalid arguments still reject')
  t.equal(new errors.InvalidMessage('x') instanceof TypeError, true)
})
