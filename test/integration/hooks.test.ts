import { once } from 'node:events'
import type { Socket } from 'node:net'
import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import type { AiCanvasWsOptions, Client, OnMessage, UnknownMessage } from 'ai-canvas-ws'
import { deferred } from '../examples/support/deferred.js'
import { startApp, type StartedApp } from '../support/app.js'
import { captureLog, type Line } from '../support/log.js'
import { RawClient } from '../support/raw-client.js'
import { until } from '../support/until.js'
import { connect, open } from '../support/ws-client.js'

async function start (t: Test, onMessage: OnMessage, options: AiCanvasWsOptions = {}): Promise<StartedApp & { lines: Line[] }> {
  const { lines, stream } = captureLog()
  return { ...await startApp(t, { onMessage, ...options }, { logger: { level: 'trace', stream } }), lines }
}

t.test('onMessage receives the app\'s own messages as they were sent, and their sender', async (t) => {
  const seen: Array<[UnknownMessage, Client]> = []
  const { url } = await start(t, (message, client) => { seen.push([message, client]) })
  const client = await connect(t, url('?userId=user_1&sessionId=s1'))
  const message = { type: 'draw', points: [[1, 2]], nested: { deep: true }, timestamp: 'mine' }
  client.send(message)
  t.same(await client.sync(), [], 'there is no reply')
  t.equal(seen.length, 1)
  const [taken, sender] = seen[0]!
  t.same(taken, message)
  t.match(sender, { id: client.clientId, userId: 'user_1', identity: { userId: 'user_1' } })
  t.same(sender.sessionIds, ['s1'])
  client.send({ type: 'subscribe', sessionId: 's2' })
  await client.nextOf('subscribed')
  t.same(sender.sessionIds, ['s1', 's2'], 'its current state')
})

t.test('onMessage receives neither the protocol\'s messages nor invalid ones', async (t) => {
  const seen: string[] = []
  const { url } = await start(t, ({ type }) => { seen.push(type) })
  const client = await connect(t, url())
  const notTheirs: Array<[string, string]> = [
    ['{"type":"ping"}', 'pong'], ['{"type":"subscribe","sessionId":"s1"}', 'subscribed'], ['{"type":"unsubscribe"}', 'unsubscribed'],
    ['{"type":"subscribe"}', 'invalid_session_id'], ['{"type":"unsubscribe","sessionId":7}', 'invalid_session_id'], ['{"type":7}', 'invalid_message'],
    ['[]', 'invalid_message'], ['{', 'invalid_json'], ['{"type":"x","__proto__":{"admin":true}}', 'invalid_json'],
    ['{"type":"x","constructor":{"prototype":{"admin":true}}}', 'invalid_json'], ['{"type":"x","a":{"__proto__":1}}', 'invalid_json']
  ]
  for (const [text, answer] of notTheirs) {
    client.send(text)
    const { type, code } = await client.next()
    t.equal(code ?? type, answer, text)
  }
  t.same(seen, [])
  client.send({ type: '' })
  client.send({ type: 'ai_complete', sessionId: 's1' })
  await client.sync()
  t.same(seen, ['', 'ai_complete'], 'types reserved for the server are ignored')
})

t.test('the hook can reply to that client alone, in order', async (t) => {
  const { url } = await start(t, ({ n }, client) => { client.send({ type: 'echo', n }) })
  const client = await connect(t, url('?sessionId=s1&userId=user_1'))
  const other = await connect(t, url('?sessionId=s1&userId=user_1'))
  for (let n = 0; n < 3; n++) client.send({ type: 'mine', n })
  t.match(await client.sync(), [{ type: 'echo', n: 0, timestamp: String }, { type: 'echo', n: 1 }, { type: 'echo', n: 2 }])
  t.same(await other.sync(), [])
})

t.test('the hook\'s reply must be a message of the app\'s own', async (t) => {
  const cycle: Record<string, unknown> = { type: 'x' }
  cycle.self = cycle
  const wrong: Array<[object, string]> = [
    [{}, 'AICW_ERR_INVALID_MESSAGE'], [{ type: 'pong' }, 'AICW_ERR_INVALID_MESSAGE'], [{ type: 'connection' }, 'AICW_ERR_INVALID_MESSAGE'],
    [cycle, 'AICW_ERR_NOT_SERIALIZABLE'], [{ type: 'x', big: 1n }, 'AICW_ERR_NOT_SERIALIZABLE']
  ]
  for (const [answer, code] of wrong) {
    const { url, lines } = await start(t, (_message, client) => { client.send(answer as { type: string }) })
    const client = await connect(t, url())
    client.send({ type: 'mine' })
    t.match(await client.next(), { type: 'error', code: 'internal_error' })
    t.match(lines.find(({ msg }) => msg === 'onMessage failed'), { level: 50, type: 'mine', err: { code } })
  }
})

t.test('the hook can close the connection after its reply', async (t) => {
  const { app, url } = await start(t, (_message, client) => {
    client.send({ type: 'bye' })
    client.disconnect()
    client.disconnect()
    client.send({ type: 'too late' })
  })
  const client = await connect(t, url())
  client.send({ type: 'mine' })
  client.send({ type: 'mine' })
  t.match(await client.closed, { code: 4502 })
  t.match(client.waiting, [{ type: 'bye' }])
  t.equal(client.waiting.length, 1)
  await until(() => app.wsManager.getStats().totalConnections === 0)
})

t.test('a client object that the hook keeps sends nothing after its connection has ended', async (t) => {
  let kept: Client | undefined
  const { app, url } = await start(t, (_message, client) => { kept = client })
  const client = await connect(t, url('?sessionId=s1'))
  client.send({ type: 'mine' })
  await client.sync()
  await client.close()
  await until(() => app.wsManager.getStats().totalConnections === 0)
  kept!.send({ type: 'too late' })
  kept!.disconnect()
  t.match(app.wsManager.getMetrics(), { closes: {} })
})

t.test('false, returned or resolved, is answered with unknown_type; any other value accepts the message', async (t) => {
  const { url } = await start(t, async ({ type }) => {
    await Promise.resolve()
    return type !== 'not mine'
  })
  const client = await connect(t, url())
  client.send({ type: 'not mine' })
  t.match(await client.next(), { type: 'error', code: 'unknown_type', message: /"not mine" is not a type/ })
  client.send({ type: 'mine' })
  t.same(await client.sync(), [])

  for (const answer of [undefined, null, 0, '', true]) {
    const { url } = await start(t, () => answer)
    const client = await connect(t, url())
    client.send({ type: 'mine' })
    t.same(await client.sync(), [], String(answer))
  }
  const declining = await start(t, () => false)
  const declined = await connect(t, declining.url())
  declined.send({ type: 'mine' })
  t.match(await declined.next(), { type: 'error', code: 'unknown_type' })
})

t.test('an error of a hook is logged and answered without its details', async (t) => {
  const failures: Record<string, OnMessage> = {
    'throws': () => { throw new Error('the secret of the app') },
    'rejects': () => Promise.reject(new Error('the secret of the app')),
    'throws nothing': () => { throw undefined as unknown as Error },
    'rejects with nothing': () => Promise.resolve().then(() => { throw undefined as unknown as Error })
  }
  for (const [name, onMessage] of Object.entries(failures)) {
    const { url, lines } = await start(t, onMessage)
    const client = await connect(t, url())
    client.send({ type: 'mine', payload: 'the secret of the user' })
    t.match(await client.next(), { type: 'error', code: 'internal_error', message: 'the app failed to handle this message' }, name)
    t.same(await client.sync(), [], `${name}: the connection continues`)
    const line = lines.find(({ msg }) => msg === 'onMessage failed')
    t.match(line, { level: 50, clientId: client.clientId, type: 'mine' }, name)
    t.notMatch(JSON.stringify(line), 'secret of the user', 'payloads are not logged')
  }
})

t.test('a hook that never settles blocks nothing', async (t) => {
  const called = deferred()
  const { app, url } = await start(t, () => {
    called.resolve()
    return new Promise(() => { /* hangs */ })
  })
  const client = await connect(t, url('?sessionId=s1'))
  client.send({ type: 'mine' })
  await called.promise
  await app.wsManager.notifyAIStart('s1', {})
  t.match(await client.sync(), [{ type: 'ai_start' }])
  await client.close()
  await until(() => app.wsManager.getStats().totalConnections === 0)
})

t.test('a hook that settles after its client has disconnected has no effect', async (t) => {
  for (const late of [false, new Error('late')]) {
    const called = deferred()
    const settled = deferred()
    const { app, url, lines } = await start(t, async () => {
      called.resolve()
      await settled.promise
      if (late instanceof Error) throw late
      return late
    })
    const client = await connect(t, url())
    client.send({ type: 'mine' })
    await called.promise
    await client.close()
    await until(() => app.wsManager.getStats().totalConnections === 0)
    settled.resolve()
    if (late instanceof Error) await until(() => lines.some(({ msg }) => msg === 'onMessage failed'))
  }
})

t.test('without the hook, unknown message types are answered with an error that quotes part of the type', async (t) => {
  const { app, url } = await startApp(t)
  const client = await connect(t, url())
  for (const [type, shown] of [['draw', '"draw"'], ['x'.repeat(1000), `"${'x'.repeat(64)}"`], ['a"\n<b>', '"a\\"\\n<b>"'], ['pong', '"pong"']]) {
    client.send({ type })
    const { message, ...answer } = await client.next()
    t.match(answer, { type: 'error', code: 'unknown_type' })
    t.ok((message as string).startsWith(`${shown!} is not a type that this server handles`), message as string)
  }
  t.match(app.wsManager.getMetrics(), { errors: { unknown_type: 4 } })
})

t.test('a client can\'t impersonate the server: other clients receive nothing that it sends', async (t) => {
  const { url } = await startApp(t)
  const victim = await connect(t, url('?sessionId=s1&userId=user_1'))
  const client = await connect(t, url('?sessionId=s1&userId=user_1'))
  for (const type of ['ai_complete', 'ai_start', 'broadcast', 'batch_update', 'connection']) client.send({ type, sessionId: 's1', userId: 'user_1', result: {} })
  t.equal((await client.sync()).length, 5)
  t.same(await victim.sync(), [])
})

t.test('other plugins\' hooks that refuse or throw refuse the upgrade over HTTP, and leave no socket behind', async (t) => {
  const hooks: Record<string, (app: FastifyInstance) => unknown> = {
    'throws at once': (app) => app.addHook('onRequest', () => { throw new Error('broken') }),
    'rejects': (app) => app.addHook('preValidation', () => Promise.reject(new Error('broken'))),
    'calls back with an error': (app) => app.addHook('preHandler', (_request, _reply, done) => { done(new Error('broken')) }),
    'answers itself': (app) => app.addHook('onRequest', (_request, reply) => reply.code(403).send({ no: true }))
  }
  for (const [name, addHook] of Object.entries(hooks)) {
    const sockets: Socket[] = []
    const { app, url } = await startApp(t, {}, {}, (app) => {
      app.server.on('connection', (socket: Socket) => { sockets.push(socket) })
      void addHook(app)
    })
    const client = open(t, url())
    const [error] = await once(client.ws, 'error') as [Error]
    t.match(error.message, name === 'answers itself' ? /403/ : /500/, name)
    t.match(await client.closed, { code: 1006 })
    // A peer that does not close its end either.
    const peer = new RawClient(t, url())
    t.match(await peer.answer, name === 'answers itself' ? /^HTTP\/1.1 403 / : /^HTTP\/1.1 500 /)
    await peer.closed
    await until(() => sockets.every((socket) => socket.destroyed))
    t.equal(sockets.length, 2)
    t.equal(app.wsManager.getStats().totalConnections, 0)
    await app.close()
  }
})

t.test('a client that disconnects during a slow hook is not admitted', async (t) => {
  const called = deferred()
  const going = deferred()
  const { app, url } = await startApp(t, {}, {}, (app) => {
    app.addHook('onRequest', async () => {
      called.resolve()
      await going.promise
    })
  })
  const client = open(t, url('?sessionId=s1'))
  await called.promise
  client.ws.terminate()
  await client.closed
  going.resolve()
  await app.close()
  t.equal(app.wsManager.getStats().totalConnections, 0)
})

t.test('a hook of the app\'s own that fails leaves no connection open', async (t) => {
  const { app, url } = await startApp(t, {}, {}, (app) => {
    app.addHook('onClose', () => Promise.reject(new Error('broken')))
  })
  const client = await connect(t, url())
  await app.close().catch(() => undefined)
  t.match(await client.closed, { code: 1012 })
})

t.test('handlers that an app adds to the request get the upgraded request, with the properties that its own hooks set', async (t) => {
  const { url } = await startApp(t, {
    authenticate: (request) => ({ userId: (request as unknown as { tenant: string }).tenant }), authorize: true
  }, {}, (app) => {
    app.decorateRequest('tenant', '')
    app.addHook('onRequest', (request, _reply, done) => {
      (request as unknown as { tenant: string }).tenant = String(request.headers['x-tenant'])
      done()
    })
  })
  const client = await connect(t, url('?userId=tenant_1'), { headers: { 'x-tenant': 'tenant_1' } })
  t.same(await client.sync(), [])
})
