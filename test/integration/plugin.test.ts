import cluster from 'node:cluster'
import { setImmediate as turn } from 'node:timers/promises'
import Fastify, { type FastifyInstance, type FastifyServerOptions } from 'fastify'
import t, { type Test } from 'tap'
import aiCanvasWs, { aiCanvasWs as named, getWebSocketManager, type AiCanvasWsOptions } from 'ai-canvas-ws'
import { systemClock } from '../../lib/util/clock.js'
import { originOf, startApp, withoutPings } from '../support/app.js'
import { selfSigned } from '../support/certificate.js'
import { captureLog } from '../support/log.js'
import { memoryBroker } from '../support/memory-broker.js'
import { connect, open, TestClient } from '../support/ws-client.js'

/** Creates an app that does not listen. Closes it when the test ends. */
function quietApp (t: Test, options: FastifyServerOptions = {}): FastifyInstance {
  const app = Fastify(options)
  t.teardown(() => app.close())
  return app
}

t.test('without options there are the route, the manager and the stats', async (t) => {
  const app = quietApp(t)
  await app.register(aiCanvasWs)
  await app.listen({ port: 0, host: '127.0.0.1' })
  const client = await connect(t, `${originOf(app)}/ws?sessionId=s1`)
  await app.wsManager.notifyAIComplete('s1', { mode: 'generate' })
  t.match(await client.next(), { type: 'ai_complete', result: { mode: 'generate' } })
  t.match((await app.inject('/api/ws/stats')).json(), { totalConnections: 1 })
  t.ok(app.hasPlugin('ai-canvas-ws'))
})

t.test('the default export and the named one are the same', (t) => {
  t.equal(aiCanvasWs, named)
  t.end()
})

t.test('a request without an upgrade is answered with 426', async (t) => {
  const { app } = await startApp(t)
  for (const method of ['GET', 'HEAD'] as const) {
    const response = await app.inject({ method, url: '/ws?sessionId=s1' })
    t.match(response, { statusCode: 426, headers: { upgrade: 'websocket' } })
  }
  t.match((await app.inject('/ws')).json(), { statusCode: 426, error: 'Upgrade Required', message: /connect with a WebSocket client/ })
  t.equal((await app.inject({ method: 'POST', url: '/ws' })).statusCode, 404)
})

t.test('a path and a prefix can be set', async (t) => {
  const { app, url } = await startApp(t, { prefix: '/realtime', path: '/socket' })
  t.match(url(), /\/realtime\/socket$/)
  await connect(t, url())
  t.match((await app.inject('/realtime/api/ws/stats')).json(), { totalConnections: 1 })
  t.equal((await app.inject('/ws')).statusCode, 404)
})

t.test('in an encapsulated context the routes have its prefix, and the manager belongs to that context', async (t) => {
  const app = quietApp(t)
  let inside: FastifyInstance | undefined
  await app.register(async (child) => {
    inside = child
    await child.register(aiCanvasWs, { prefix: '/live' })
  }, { prefix: '/v1' })
  await app.listen({ port: 0, host: '127.0.0.1' })
  t.notOk(app.hasDecorator('wsManager'))
  const client = await connect(t, `${originOf(app)}/v1/live/ws?sessionId=s1`)
  t.match(await inside!.wsManager.notifyAIStart('s1', {}), { recipients: 1 })
  t.match(await client.next(), { type: 'ai_start' })
  t.match((await app.inject('/v1/live/api/ws/stats')).json(), { totalConnections: 1 })
  await app.close()
  t.match(await client.closed, { code: 1012 })
})

t.test('the plugin works over HTTPS', async (t) => {
  const { key, cert } = selfSigned()
  const app = Fastify({ https: { key, cert } })
  t.teardown(() => app.close())
  await app.register(aiCanvasWs)
  await app.listen({ port: 0, host: '127.0.0.1' })
  const client = await connect(t, `${originOf(app, 'wss')}/ws?sessionId=s1`, { ca: cert })
  for (let chunk = 1; chunk <= 50; chunk++) void app.wsManager.notifyAIProgress('s1', { chunksReceived: chunk, text: 'x'.repeat(chunk * 100) })
  for (let chunk = 1; chunk <= 50; chunk++) t.match(await client.next(), { progress: { chunksReceived: chunk } })
  t.same(await client.sync(), [])
  await app.close()
  t.match(await client.closed, { code: 1012 })
})

t.test('app.injectWS works without a port if its listener is attached in onInit', async (t) => {
  const app = quietApp(t)
  await app.register(aiCanvasWs, withoutPings)
  await app.ready()
  let client: TestClient | undefined
  await app.injectWS('/ws?userId=u1&sessionId=s1', {}, { onInit: (ws) => { client = new TestClient(ws) } })
  t.match(await client!.next(), { type: 'connection', status: 'connected', sessionId: 's1' })
  t.match(await app.wsManager.notifyAIStart('s1', { prompt: 'x'.repeat(5000) }), { recipients: 1 })
  t.match(await client!.next(), { type: 'ai_start', task: { prompt: 'x'.repeat(5000) } })
  client!.send({ type: 'subscribe', sessionId: 's2' })
  t.match(await client!.next(), { type: 'subscribed', sessionId: 's2' })
  t.same(await client!.sync(), [])
  t.match(app.wsManager.getStats(), { activeConnections: 1, clients: [{ userId: 'u1', sessionId: 's2', state: 1 }] })
  await app.close()
  t.match(await client!.closed, { code: 1012 })
})

t.test('an injected socket that stops reading receives everything in the end', async (t) => {
  const app = quietApp(t)
  await app.register(aiCanvasWs)
  await app.ready()
  let client: TestClient | undefined
  await app.injectWS('/ws?sessionId=s1', {}, { onInit: (ws) => { client = new TestClient(ws) } })
  t.match(await client!.next(), { type: 'connection' })
  client!.ws.pause()
  const count = 20
  for (let n = 0; n < count; n++) {
    await app.wsManager.notifyAIStart('s1', { n, prompt: 'x'.repeat(32 * 1024) })
    await turn()
  }
  t.ok(app.wsManager.getMetrics().bufferedAmount > 128 * 1024, 'it is behind')
  client!.ws.resume()
  for (let n = 0; n < count; n++) t.match(await client!.next(), { type: 'ai_start', task: { n } })
  t.same(await client!.sync(), [])
  t.equal(app.wsManager.getMetrics().bufferedAmount, 0)
})

t.test('registering twice on a server is an error that names the fix', async (t) => {
  const twice = { code: 'AICW_ERR_ALREADY_REGISTERED', message: /register it once, on the root instance, and use app\.wsManager everywhere/ }
  const app = quietApp(t)
  await app.register(aiCanvasWs)
  await t.rejects(async () => app.register(aiCanvasWs, { path: '/other' }), twice, 'on the same instance')

  const siblings = quietApp(t)
  siblings.register(async (child) => { await child.register(aiCanvasWs) }, { prefix: '/a' })
  siblings.register(async (child) => { await child.register(aiCanvasWs) }, { prefix: '/b' })
  await t.rejects(async () => siblings.ready(), twice, 'in sibling contexts')

  const nested = quietApp(t)
  await nested.register(aiCanvasWs)
  nested.register(async (child) => { await child.register(aiCanvasWs) }, { prefix: '/a' })
  await t.rejects(async () => nested.ready(), twice, 'in a child context of the root that has it')
})

t.test('getWebSocketManager returns the manager of the one open app', async (t) => {
  const none = { code: 'AICW_ERR_NO_MANAGER', message: /await app\.register\(aiCanvasWs\) before getWebSocketManager\(\)/ }
  t.throws(() => getWebSocketManager(), none)
  const one = quietApp(t)
  await one.register(aiCanvasWs)
  t.equal(getWebSocketManager(), one.wsManager)

  const two = quietApp(t)
  await two.register(aiCanvasWs)
  t.throws(() => getWebSocketManager(), { code: 'AICW_ERR_MANY_MANAGERS', message: /^2 apps .* use app\.wsManager/ })
  await one.close()
  t.equal(getWebSocketManager(), two.wsManager)
  await two.close()
  t.throws(() => getWebSocketManager(), none)
})

t.test('a client whose session can\'t be joined is asked to reconnect, and the log says why', async (t) => {
  const { lines, stream } = captureLog()
  const broker = Object.assign(memoryBroker(systemClock), { join: () => Promise.reject(new Error('no broker there')) })
  const { app, url } = await startApp(t, { broker }, { logger: { level: 'error', stream } })
  t.same(await open(t, url('?sessionId=s1')).closed, { code: 1013, reason: 'Try again later' })
  t.match(lines, [{ err: { message: 'no broker there' }, msg: /failed to join/ }])
  t.match(app.wsManager.getMetrics(), { totalConnections: 0, closes: { overCapacity: 1 } })
})

t.test('a failed registration leaves nothing behind', async (t) => {
  const failures: Record<string, { options: () => AiCanvasWsOptions, prepare?: (app: FastifyInstance) => unknown, error: { code: string } | { message: string } }> = {
    'a broker that does not open': {
      options: () => ({ broker: Object.assign(memoryBroker(systemClock), { open: () => Promise.reject(new Error('no broker there')) }) }),
      error: { message: 'no broker there' }
    },
    'a path that the app uses itself': {
      options: () => ({}),
      prepare: (app) => app.get('/ws', () => 'mine'),
      error: { code: 'FST_ERR_DUPLICATED_ROUTE' }
    },
    'a stats path that the app uses itself': {
      options: () => ({ stats: '/stats' }),
      prepare: (app) => app.get('/stats', () => 'mine'),
      error: { code: 'FST_ERR_DUPLICATED_ROUTE' }
    },
    'an option that can\'t be meant': {
      options: () => ({ heartbeatIntervalMs: -1 }),
      error: { message: 'option "heartbeatIntervalMs" must be a number above 0' }
    },
    'a manager of the app\'s own': {
      options: () => ({}),
      prepare: (app) => app.decorate('wsManager', {} as never),
      error: { code: 'FST_ERR_DEC_ALREADY_PRESENT' }
    }
  }
  for (const [name, { options, prepare, error }] of Object.entries(failures)) {
    await t.test(name, async (t) => {
      const app = quietApp(t)
      prepare?.(app)
      await t.rejects(async () => app.register(aiCanvasWs, options()), error)
      await app.close()
      t.throws(() => getWebSocketManager(), { code: 'AICW_ERR_NO_MANAGER' })
      const next = await startApp(t)
      await connect(t, next.url())
      t.equal(getWebSocketManager(), next.app.wsManager)
    })
  }
})

t.test('an opened broker is closed when the registration fails later and when the app closes', async (t) => {
  for (const fails of [true, false]) {
    const calls: string[] = []
    const broker = Object.assign(memoryBroker(systemClock), {
      open: () => { calls.push('open') }, close: () => { calls.push('close') }
    })
    const app = quietApp(t)
    if (fails) app.get('/ws', () => 'mine')
    const registered = (async () => app.register(aiCanvasWs, { broker }))()
    await (fails ? t.rejects(registered) : registered)
    await app.close()
    t.same(calls, ['open', 'close'])
  }
})

t.test('a broker that fails to close rejects app.close(), and keeps nothing open', async (t) => {
  const broker = Object.assign(memoryBroker(systemClock), { close: () => Promise.reject(new Error('still busy')) })
  const app = Fastify()
  await app.register(aiCanvasWs, { broker })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const client = await connect(t, `${originOf(app)}/ws`)
  await t.rejects(app.close(), { message: 'still busy' })
  t.match(await client.closed, { code: 1012 })
  t.notOk(app.server.listening)
  t.throws(() => getWebSocketManager(), { code: 'AICW_ERR_NO_MANAGER' })
})

t.test('in production a server without authentication logs a warning', async (t) => {
  t.intercept(process, 'env', { value: { ...process.env, NODE_ENV: 'production' } })
  const warnings = async (options: AiCanvasWsOptions): Promise<string[]> => {
    const { lines, stream } = captureLog()
    await quietApp(t, { logger: { level: 'warn', stream } }).register(aiCanvasWs, options)
    return lines.map(({ msg }) => msg)
  }
  t.match(await warnings({}), [/does not authenticate clients, .*: set the options "authenticate" and "authorize"/])
  const stats = /GET \/api\/ws\/stats shows the ids of all clients to everyone: guard it/
  t.match(await warnings({}), [stats])
  t.match(await warnings({ prefix: '/v1', stats: '/who' }), [/GET \/v1\/who shows/])
  for (const options of [{ stats: false as const }, { stats: { preHandler: (_request: unknown, _reply: unknown, done: () => void) => { done() } } }]) {
    const closed = await warnings(options)
    t.match(closed, [/does not authenticate clients/])
    t.notMatch(closed, [/stats/])
  }
  t.same(await warnings({ authenticate: () => ({}), authorize: true }), [])
  process.env.NODE_ENV = 'development'
  t.same(await warnings({}), [])
})

t.test('a worker of cluster or PM2 logs that each process has its own sessions, unless they share a broker', async (t) => {
  const warnings = async (options: AiCanvasWsOptions = {}): Promise<string[]> => {
    const { lines, stream } = captureLog()
    await quietApp(t, { logger: { level: 'warn', stream } }).register(aiCanvasWs, options)
    return lines.map(({ msg }) => msg)
  }
  const own = /each process has its own sessions/
  t.same(await warnings(), [])
  const env = { ...process.env }
  t.intercept(process, 'env', { value: env })
  env.NODE_APP_INSTANCE = '0'
  t.same(await warnings(), [], 'PM2\'s first process may be the only one')
  env.NODE_APP_INSTANCE = '1'
  t.match(await warnings(), [own])
  t.same(await warnings({ broker: memoryBroker(systemClock) }), [])
  delete env.NODE_APP_INSTANCE
  t.intercept(cluster, 'isWorker', { value: true })
  t.match(await warnings(), [own])
})
