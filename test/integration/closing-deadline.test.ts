import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import fastifyWebsocket from '@fastify/websocket'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import aiCanvasWs, { type AiCanvasWsOptions } from 'ai-canvas-ws'
import { systemClock } from '../../lib/util/clock.js'
import { captureLog, type Line } from '../support/log.js'
import { memoryBroker } from '../support/memory-broker.js'
import { RawClient } from '../support/raw-client.js'
import { settlesWithin } from '../support/settles-within.js'

/** One deadline for the whole shutdown. Twice that, or ws's own 30 seconds, is too long. */
const CLOSE_TIMEOUT_MS = 1_000
const TOO_LONG_MS = 1_900

interface Started { app: FastifyInstance, origin: string, lines: Line[] }

async function start (t: Test, options: AiCanvasWsOptions, prepare?: (app: FastifyInstance) => unknown): Promise<Started> {
  const { lines, stream } = captureLog()
  const app = Fastify({ logger: { level: 'warn', stream } })
  t.teardown(() => app.close().catch(() => { /* asserted where it is expected */ }))
  await prepare?.(app)
  await app.register(aiCanvasWs, { closeTimeoutMs: CLOSE_TIMEOUT_MS, ...options })
  app.get('/plain', () => 'hello')
  app.get('/own', { websocket: true }, () => { /* the app's */ })
  await app.listen({ port: 0, host: '127.0.0.1' })
  return { app, origin: `ws://127.0.0.1:${(app.server.address() as AddressInfo).port}`, lines }
}

const registered = (app: FastifyInstance): unknown => app.register(fastifyWebsocket)
const settles = <T> (value: T, ms = 10_000): Promise<T> => sleep(ms, value, { ref: false })

for (const [order, prepare] of [['we registered @fastify/websocket', undefined], ['the app had registered it before', registered]] as const) {
  for (const path of ['/plain', '/own', '/ws']) {
    t.test(`a foreign upgrade of ${path} that ignores the close frame does not outlast the deadline when ${order}`, async (t) => {
      const { app, origin } = await start(t, {}, prepare)
      const stranger = new RawClient(t, `${origin}${path}`)
      t.match(await stranger.answer, /^HTTP\/1\.1 101 /)
      t.ok(await settlesWithin(TOO_LONG_MS, app.close()))
      await stranger.closed
    })
  }
}

t.test('a WebSocket route of the app that keeps its sockets open on purpose is left alone', async (t) => {
  const { app, origin } = await start(t, {}, (app) => app.register(fastifyWebsocket, { preClose: (done) => { done() } }))
  const client = new RawClient(t, `${origin}/own`)
  await client.answer
  const closing = app.close()
  t.equal(await Promise.race([closing.then(() => 'closed'), sleep(CLOSE_TIMEOUT_MS * 2, 'open')]), 'open')
  for (const ws of app.websocketServer.clients) ws.terminate()
  await closing
})

t.test('a slow broker leaves time for the closing handshake, within the same deadline', async (t) => {
  const broker = memoryBroker(systemClock)
  const publish = broker.publish.bind(broker)
  const { app, origin, lines } = await start(t, {
    broker: Object.assign(broker, { publish: async (...args: Parameters<typeof publish>) => settles(null).then(() => publish(...args)) })
  })
  const silent = new RawClient(t, `${origin}/ws?sessionId=s1`)
  await silent.frame()
  void app.wsManager.notifyAIStart('s1', {})
  const since = performance.now()
  t.ok(await settlesWithin(TOO_LONG_MS, app.close()))
  t.ok(performance.now() - since >= CLOSE_TIMEOUT_MS - 1, 'and not earlier')
  t.match((await silent.frame()).payload.readUInt16BE(0), 1012)
  t.match(lines, [{ level: 40, step: 'notifications', closeTimeoutMs: CLOSE_TIMEOUT_MS, msg: /timed out/ }])
})

t.test('a broker whose close never settles does not outlast the deadline', async (t) => {
  const broker = Object.assign(memoryBroker(systemClock), { close: () => settles(undefined) })
  const { app, lines } = await start(t, { broker })
  t.ok(await settlesWithin(TOO_LONG_MS, app.close()))
  t.match(lines, [{ level: 40, step: 'broker' }])
})

t.test('a broker that throws, on publish or on close, does not skip any step', async (t) => {
  const broker = Object.assign(memoryBroker(systemClock), { close: () => { throw new Error('still busy') } })
  const { app, origin, lines } = await start(t, { broker })
  const client = new RawClient(t, `${origin}/ws?sessionId=s1`)
  await client.frame()
  app.wsManager.close = () => { throw new Error('cannot end jobs') }
  await t.rejects(app.close(), { message: 'cannot end jobs' }, 'the first error is passed on')
  t.equal((await client.frame()).payload.readUInt16BE(0), 1012)
  t.match(lines, [{ level: 50, step: 'notifications', err: { message: 'cannot end jobs' } }, { level: 50, step: 'broker', err: { message: 'still busy' } }])
})
