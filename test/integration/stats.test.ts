import { once } from 'node:events'
import { get } from 'node:http'
import type { Socket } from 'node:net'
import swagger from '@fastify/swagger'
import Fastify from 'fastify'
import t, { type Test } from 'tap'
import type { AiCanvasWsOptions, Stats, StatsFilter } from 'ai-canvas-ws'
import { systemClock } from '../../lib/util/clock.js'
import { Subscriber } from '../../lib/delivery/channel.js'
import { Hub } from '../../lib/delivery/hub.js'
import { Outbox } from '../../lib/delivery/outbox.js'
import { OutboxPool } from '../../lib/delivery/outbox-pool.js'
import { registerStatsRoute } from '../../lib/fastify/stats-route.js'
import { clientId, Connection } from '../../lib/connections/connection.js'
import { ConnectionRegistry } from '../../lib/connections/connection-registry.js'
import { Counters } from '../../lib/connections/counters.js'
import { RateLimit } from '../../lib/connections/rate-limit.js'
import { snapshot } from '../../lib/manager/stats.js'
import { originOf, startApp, withoutPings } from '../support/app.js'
import { FakeClock } from '../support/fake-clock.js'
import { documentedCode } from '../support/documented.js'
import { FakeTransport } from '../support/fake-transport.js'
import { fakeLogger } from '../support/log.js'
import { memoryBroker } from '../support/memory-broker.js'
import { RawClient } from '../support/raw-client.js'
import { connect } from '../support/ws-client.js'

interface Answer { status: number, body: Record<string, unknown> }

async function ask (url: string, init?: RequestInit): Promise<Answer> {
  const response = await fetch(url, init)
  return { status: response.status, body: await response.json() as Record<string, unknown> }
}

/** An app with the stats route, and a function that requests it over HTTP. */
async function start (t: Test, options: AiCanvasWsOptions = {}) {
  const started = await startApp(t, { ...withoutPings, ...options })
  return { ...started, stats: (query = '') => ask(`${originOf(started.app, 'http')}/api/ws/stats${query}`) }
}

t.test('the stats have exactly the documented shape', async (t) => {
  const { url, stats } = await start(t)
  t.same(await stats(), { status: 200, body: { totalConnections: 0, activeConnections: 0, clients: [] } })

  const { clientId } = await connect(t, url('?userId=user_123&sessionId=session_456'))
  const { body } = await stats()
  t.equal(JSON.stringify(body), JSON.stringify({
    totalConnections: 1,
    activeConnections: 1,
    clients: [{ id: clientId, userId: 'user_123', sessionId: 'session_456', isAlive: true, state: 1 }]
  }))
  const printed = JSON.parse(documentedCode('WebSocket Stats Endpoint')) as Stats
  t.same(Object.keys(body), Object.keys(printed))
  t.same(Object.keys((body as unknown as Stats).clients[0]!), Object.keys(printed.clients[0]!))
})

t.test('missing ids are omitted, and sessionId is the session that was subscribed to last', async (t) => {
  const { url, stats } = await start(t)
  const client = await connect(t, url())
  const only = async (): Promise<unknown> => ((await stats()).body as unknown as Stats).clients[0]
  t.same(await only(), { id: client.clientId, isAlive: true, state: 1 })
  for (const sessionId of ['s1', 's2', 's1']) {
    client.send({ type: 'subscribe', sessionId })
    await client.next()
    t.same(await only(), { id: client.clientId, sessionId, isAlive: true, state: 1 })
  }
  client.send({ type: 'unsubscribe', sessionId: 's1' })
  await client.next()
  t.match(await only(), { sessionId: 's2' })
})

t.test('a closing connection is tracked but not active; after its end it is neither', async (t) => {
  const { app, url, stats } = await start(t, { closeTimeoutMs: 60_000 })
  const accepted = once(app.server, 'connection') as Promise<[Socket]>
  const silent = new RawClient(t, url('?userId=u1'))
  await silent.frame()
  const [socket] = await accepted
  await app.wsManager.revoke('u1')
  t.match(await stats(), { body: { totalConnections: 1, activeConnections: 0, clients: [{ userId: 'u1', isAlive: true, state: 2 }] } })

  // Its reply: an empty close frame, masked as a client's must be.
  silent.socket.write(Buffer.from([0x88, 0x80, 0, 0, 0, 0]))
  await once(socket, 'close')
  t.same((await stats()).body, { totalConnections: 0, activeConnections: 0, clients: [] })
})

t.test('the list can be filtered and limited; the totals always include all connections', async (t) => {
  const { url, stats } = await start(t)
  for (const query of ['?userId=u1&sessionId=s1', '?userId=u1&sessionId=s2', '?userId=u2&sessionId=s1', '']) await connect(t, url(query))
  const listed = async (query: string): Promise<Array<[string | undefined, string | undefined]>> => {
    const { status, body } = await stats(query)
    t.match({ status, body }, { status: 200, body: { totalConnections: 4, activeConnections: 4 } })
    return (body as unknown as Stats).clients.map(({ userId, sessionId }) => [userId, sessionId])
  }
  t.same(await listed('?userId=u1'), [['u1', 's1'], ['u1', 's2']])
  t.same(await listed('?sessionId=s1'), [['u1', 's1'], ['u2', 's1']])
  t.same(await listed('?userId=u1&sessionId=s2'), [['u1', 's2']])
  t.same(await listed('?userId=nobody'), [])
  t.same(await listed('?limit=2'), [['u1', 's1'], ['u1', 's2']])
  t.same(await listed('?sessionId=s1&limit=1'), [['u1', 's1']])
  t.same(await listed('?limit=0'), [])
  t.equal((await listed('?limit=100')).length, 4)
})

t.test('an invalid query is answered with 400 and the reason', async (t) => {
  const { stats } = await start(t)
  const faults: Record<string, RegExp> = {
    '?limit=-1': /limit must be >= 0/,
    '?limit=1.5': /limit must be integer/,
    '?limit=many': /limit must be integer/,
    '?sessionId=': /sessionId must NOT have fewer than 1 characters/,
    [`?userId=${'x'.repeat(257)}`]: /userId must match pattern/,
    '?userId=a%00b': /userId must match pattern/,
    '?sessionId=a&sessionId=b': /sessionId must be string/
  }
  for (const [query, message] of Object.entries(faults)) {
    t.match(await stats(query), { status: 400, body: { statusCode: 400, error: 'Bad Request', message } }, query.slice(0, 40))
  }
})

t.test('the route can be disabled, moved or guarded', async (t) => {
  const off = await startApp(t, { stats: false })
  t.match(await ask(`${originOf(off.app, 'http')}/api/ws/stats`), { status: 404 })

  const elsewhere = await startApp(t, { stats: '/internal/stats' })
  t.match(await ask(`${originOf(elsewhere.app, 'http')}/internal/stats`), { status: 200, body: { totalConnections: 0 } })
  t.match(await ask(`${originOf(elsewhere.app, 'http')}/api/ws/stats`), { status: 404 })

  for (const hook of ['onRequest', 'preParsing', 'preValidation', 'preHandler'] as const) {
    const guarded = await startApp(t, {
      stats: {
        path: '/stats',
        [hook]: async (request: { headers: Record<string, unknown> }) => {
          if (request.headers['x-key'] !== 'k') throw Object.assign(new Error('no'), { statusCode: 401 })
          return Promise.resolve()
        }
      }
    })
    const url = `${originOf(guarded.app, 'http')}/stats`
    t.match(await ask(url), { status: 401, body: { message: 'no' } }, hook)
    t.match(await ask(url, { headers: { 'x-key': 'k' } }), { status: 200 }, hook)
  }
})

t.test('with scope=cluster the response has the connections of all nodes', async (t) => {
  const { url, stats } = await start(t)
  const { clientId } = await connect(t, url('?userId=u1'))
  const alone = { totalConnections: 1, activeConnections: 1 }
  t.same((await stats('?scope=cluster')).body, { ...alone, clients: [{ id: clientId, userId: 'u1', isAlive: true, state: 1, node: 'local' }], nodes: [{ node: 'local', ...alone }], missing: [] })
  t.same((await stats('?scope=node')).body, (await stats()).body)
  t.match(await stats('?scope=galaxy'), { status: 400 })
})

t.test('with authenticate the response contains no ids, unless the app guards the route', async (t) => {
  const secured: AiCanvasWsOptions = { authenticate: () => ({ userId: 'u1' }), authorize: true }
  const { url, stats } = await start(t, secured)
  await connect(t, url('?sessionId=s1'))
  t.same(await stats(), { status: 200, body: { totalConnections: 1, activeConnections: 1, clients: [{ isAlive: true, state: 1 }] } })
  t.same((await stats('?limit=0')).body, { totalConnections: 1, activeConnections: 1, clients: [] })
  for (const query of ['?userId=u1', '?sessionId=s1', '?userId=nobody', '?scope=cluster']) {
    t.match(await stats(query), { status: 403, body: { statusCode: 403, error: 'Forbidden', message: /stats to \{ preHandler \}/ } })
  }

  const guarded = await start(t, { ...secured, stats: { preHandler: (_request, _reply, done) => { done() } } })
  const { clientId } = await connect(t, guarded.url('?sessionId=s1'))
  t.same((await guarded.stats('?userId=u1')).body,
    { totalConnections: 1, activeConnections: 1, clients: [{ id: clientId, userId: 'u1', sessionId: 's1', isAlive: true, state: 1 }] })
})

t.test('the OpenAPI document describes the stats route, and not the WebSocket', async (t) => {
  const { app } = await startApp(t, {}, {}, (app) => app.register(swagger, { openapi: { info: { title: 'x', version: '1' } } }))
  const { paths } = app.swagger() as { paths: Record<string, object> }
  t.same(Object.keys(paths), ['/api/ws/stats'])
  t.match(paths['/api/ws/stats'], {
    get: {
      parameters: [
        { in: 'query', name: 'sessionId', required: false },
        { in: 'query', name: 'userId', required: false },
        { in: 'query', name: 'limit', required: false, schema: { type: 'integer', minimum: 0 } },
        { in: 'query', name: 'scope', required: false }
      ],
      responses: {
        200: {
          content: {
            'application/json': {
              schema: {
                required: ['totalConnections', 'activeConnections', 'clients'],
                properties: {
                  totalConnections: { type: 'integer' },
                  activeConnections: { type: 'integer' },
                  clients: { items: { required: ['isAlive', 'state'], properties: { id: { type: 'string' }, state: { type: 'integer' } } } }
                }
              }
            }
          }
        }
      }
    }
  })
})

/**
 * The real registry with 10,000 connections on fake transports, because real sockets with their clients would be most of this
 * process's work.
 */
function crowd (size: number): (filter: StatsFilter) => Stats {
  const clock = systemClock
  const counters = new Counters()
  const hub = new Hub({ broker: memoryBroker(clock), clock })
  const pool = new OutboxPool({ maxOutboxBytes: 1, maxTotalBytes: 1, clock: new FakeClock() })
  const connections = new ConnectionRegistry({ hub, clock, counters, log: fakeLogger(), closeTimeoutMs: 1 })
  for (let at = 0; at < size; at++) {
    const connection = new Connection({
      id: clientId(clock.now()),
      identity: { userId: `user_${at}` },
      subscriber: new Subscriber(new Outbox(new FakeTransport(), pool, () => { /* writes nothing */ })),
      rateLimit: new RateLimit({ messagesPerSecond: 1, burst: 1, sessionsPerConnection: 1 }, 0)
    })
    connection.subscriptions.set(`session_${at}`, { pending: false, joined: true })
    connections.add(connection)
  }
  return (filter) => snapshot({ connections }, filter)
}

/** An animation frame takes 16 ms, and users notice delays from about 100 ms on. */
const BOUND_MS = 50

/** Returns the longest time for which the event loop is blocked during a call. */
async function longestStall (work: () => Promise<unknown>): Promise<number> {
  let longest = 0
  let last = performance.now()
  let running = true
  const turn = (): void => {
    const now = performance.now()
    longest = Math.max(longest, now - last)
    last = now
    if (running) setImmediate(turn)
  }
  turn()
  await work()
  running = false
  turn()
  return longest
}

t.test('10,000 connections are listed without stalling the event loop', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  registerStatsRoute(app, { url: '/stats', routeOptions: {}, getStats: crowd(10_000), getClusterStats: () => Promise.reject(new Error('not called')), withoutIds: false, logSerializers: { req: () => ({}) } })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const answer = (): Promise<Buffer> => new Promise((resolve, reject) => {
    get(`${originOf(app, 'http')}/stats`, (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => { chunks.push(chunk) })
      response.on('end', () => { resolve(Buffer.concat(chunks)) })
    }).on('error', reject)
  })
  const { totalConnections, clients } = JSON.parse((await answer()).toString()) as Stats
  t.same([totalConnections, clients.length, new Set(clients.map(({ id }) => id)).size], [10_000, 10_000, 10_000])

  // The best of several rounds, and of more on a busy machine, which stalls by itself now and then.
  const stalls: number[] = []
  while (stalls.length < 8 || (stalls.length < 50 && Math.min(...stalls) >= BOUND_MS)) stalls.push(await longestStall(answer))
  const longest = Math.min(...stalls)
  t.comment(`longest stall while 10,000 connections were listed: ${longest.toFixed(1)} ms (all rounds: ${stalls.map((ms) => ms.toFixed(1)).join(', ')})`)
  t.ok(longest < BOUND_MS, `${longest} ms`)
})
