import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { setImmediate as turn } from 'node:timers/promises'
import fastifyWebsocket from '@fastify/websocket'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import aiCanvasWs from 'ai-canvas-ws'
import { collect } from '../support/memory.js'
import { RawConnection, upgradeRequest } from '../support/raw-http.js'
import { until } from '../support/until.js'

/** Far below every other timeout that could end a socket, such as ws's 30 seconds. */
const TIMEOUT_MS = 300
const FAR_TOO_LONG_MS = 15_000

type Prepare = (app: FastifyInstance) => unknown

const plugin: Prepare = (app) => app.register(aiCanvasWs, { closeTimeoutMs: TIMEOUT_MS, limits: { authTimeoutMs: TIMEOUT_MS } })
const inScope: Prepare = (app) => app.register(async (scope) => { await plugin(scope) }, { prefix: '/v1' })
const never = (): Promise<never> => new Promise(() => { /* never replies */ })

/** Cases in which an upgraded socket finds no handler, and the server's response, if any. */
const orphans: Record<string, { prepare: Prepare, line?: string, options?: Parameters<typeof upgradeRequest>[1], answer?: RegExp }> = {
  'a URL with bad percent-encoding': { prepare: plugin, line: 'GET /ws%', answer: /^HTTP\/1\.1 400 / },
  'the same in another segment': { prepare: plugin, line: 'GET /%zz/ws?x=%', answer: /^HTTP\/1\.1 40[04] / },
  'a bad URL while the plugin is in a scope': { prepare: inScope, line: 'GET /v1/ws%', answer: /^HTTP\/1\.1 400 / },
  'a very long URL': { prepare: plugin, line: `GET /${'x'.repeat(12_000)}`, answer: /^HTTP\/1\.1 404 / },
  'a route that does not exist': { prepare: plugin, line: 'GET /nothing', answer: /^HTTP\/1\.1 404 / },
  'a route outside of the plugin\'s scope that does not exist': { prepare: inScope, line: 'GET /nothing', answer: /^HTTP\/1\.1 404 / },
  'a plain route outside of the plugin\'s scope': {
    prepare: (app) => {
      app.get('/plain', () => 'hello')
      return inScope(app)
    },
    line: 'GET /plain',
    answer: /^HTTP\/1\.1 200 [\s\S]*hello$/
  },
  'a host that no route of this path has': {
    prepare: async (app) => {
      app.get('/hosted', { constraints: { host: 'other.example' } }, () => 'hello')
      await plugin(app)
    },
    line: 'GET /hosted',
    answer: /^HTTP\/1\.1 404 /
  },
  'a hook that refuses with 401': {
    prepare: async (app) => {
      app.addHook('onRequest', (_request, reply) => reply.code(401).send('who are you?'))
      await plugin(app)
    },
    answer: /^HTTP\/1\.1 401 /
  },
  'a hook of a scope that refuses with 401': {
    prepare: (app) => app.register(async (scope) => {
      scope.addHook('onRequest', (_request, reply) => reply.code(401).send('who are you?'))
      await plugin(scope)
    }, { prefix: '/v1' }),
    line: 'GET /v1/ws',
    answer: /^HTTP\/1\.1 401 /
  },
  'a hook that throws': {
    prepare: async (app) => {
      app.addHook('preValidation', () => { throw new Error('broken') })
      await plugin(app)
    },
    answer: /^HTTP\/1\.1 500 /
  },
  'a hook that never replies': {
    prepare: async (app) => {
      app.addHook('onRequest', never)
      await plugin(app)
    }
  },
  'a hook that never replies, in a scope': {
    prepare: (app) => app.register(async (scope) => {
      scope.addHook('preHandler', never)
      await plugin(scope)
    }, { prefix: '/v1' }),
    line: 'GET /v1/ws'
  },
  'a hook that hijacks the reply and forgets it': {
    prepare: async (app) => {
      app.addHook('onRequest', async (_request, reply) => { reply.hijack() })
      await plugin(app)
    }
  },
  'a WebSocket key that is none': {
    prepare: plugin, options: { headers: ['Sec-WebSocket-Key: short'] }, answer: /^HTTP\/1\.1 400 /
  },
  'garbage behind the head': { prepare: plugin, line: 'GET /nothing', options: { body: '\x00\xff'.repeat(5000) }, answer: /^HTTP\/1\.1 404 / },
  'the app\'s own @fastify/websocket, and a bad URL': {
    prepare: async (app) => {
      await app.register(fastifyWebsocket)
      await plugin(app)
    },
    line: 'GET /ws%',
    answer: /^HTTP\/1\.1 400 /
  },
  'the app\'s own @fastify/websocket, and a hook that never replies': {
    prepare: async (app) => {
      await app.register(fastifyWebsocket)
      app.addHook('onRequest', never)
      await plugin(app)
    }
  },
  'the app\'s own @fastify/websocket, and a request that waits for the response before it': {
    prepare: async (app) => {
      await app.register(fastifyWebsocket)
      await plugin(app)
      app.get('/slow', async () => 'at last')
    },
    line: 'GET /slow HTTP/1.1\r\nHost: app.example\r\n\r\nGET /ws',
    answer: /^HTTP\/1\.1 200 [\s\S]*at last$/
  }
}

async function listening (t: Test, prepare: Prepare): Promise<{ app: FastifyInstance, port: number, connections: () => Promise<number> }> {
  const app = Fastify()
  t.teardown(() => app.close())
  await prepare(app)
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as AddressInfo
  return { app, port, connections: () => new Promise((resolve) => { app.server.getConnections((_error, count) => { resolve(count) }) }) }
}

async function msOf (work: PromiseLike<unknown>): Promise<number> {
  const since = performance.now()
  await work
  return performance.now() - since
}

for (const [name, { prepare, line = 'GET /ws', options, answer }] of Object.entries(orphans)) {
  t.test(`no socket is left after ${name}`, async (t) => {
    const { app, port, connections } = await listening(t, prepare)
    const clients = Array.from({ length: 5 }, () => new RawConnection(t, port).write(upgradeRequest(line, options)))
    // These clients never close, not even after the server has ended its side.
    await Promise.all(clients.map(({ ended }) => ended))
    if (answer !== undefined) t.match(clients[0]!.text, answer)
    else t.equal(clients[0]!.text, '')
    await until(async () => await connections() === 0)
    t.ok(await msOf(app.close()) < FAR_TOO_LONG_MS)
  })

  t.test(`app.close() returns at its deadline if it begins right after ${name}`, async (t) => {
    const { app, port } = await listening(t, prepare)
    const arrived = once(app.server, 'connection')
    const client = new RawConnection(t, port).write(upgradeRequest(line, options))
    await arrived
    for (let turns = 0; turns < 3; turns++) await turn()
    t.ok(await msOf(app.close()) < FAR_TOO_LONG_MS)
    await client.ended
  })
}

t.test('a thousand such sockets at once are all closed', async (t) => {
  const { app, port, connections } = await listening(t, async (app) => {
    app.addHook('onRequest', async (request) => { if (request.url.startsWith('/ws')) await never() })
    await plugin(app)
  })
  const lines = ['GET /ws', 'GET /ws%', 'GET /nothing']
  const clients = Array.from({ length: 1000 }, (_, n) => new RawConnection(t, port).write(upgradeRequest(lines[n % 3]!)))
  await Promise.all(clients.map(({ ended }) => ended))
  await until(async () => await connections() === 0)
  t.ok(await msOf(app.close()) < FAR_TOO_LONG_MS)
})

t.test('a client that resets its connection while a hook is pending does not end the process', async (t) => {
  const { port, connections } = await listening(t, async (app) => {
    app.addHook('onRequest', never)
    await plugin(app)
  })
  const client = new RawConnection(t, port).write(upgradeRequest('GET /ws'))
  await until(async () => await connections() === 1)
  client.socket.resetAndDestroy()
  await until(async () => await connections() === 0)
  t.pass('still running')
})

t.test('an upgrade that waits for a slow response on the same connection continues after it', async (t) => {
  let respond: (() => void) | undefined
  const { port } = await listening(t, async (app) => {
    await plugin(app)
    app.get('/slow', () => new Promise((resolve) => { respond = () => { resolve('at last') } }))
  })
  const client = new RawConnection(t, port).write(`GET /slow HTTP/1.1\r\nHost: app.example\r\n\r\n${upgradeRequest('GET /ws')}`)
  await until(() => respond !== undefined)
  respond!()
  t.match(await client.until(/"type":"connection"/), /^HTTP\/1\.1 200 [\s\S]*at lastHTTP\/1\.1 101 /)
})

t.test('an upgrade that waits for a response that never comes does not delay a close', async (t) => {
  let asked = false
  const { app, port } = await listening(t, async (app) => {
    await plugin(app)
    app.get('/never', () => {
      asked = true
      return never()
    })
  })
  const client = new RawConnection(t, port).write(`GET /never HTTP/1.1\r\nHost: app.example\r\n\r\n${upgradeRequest('GET /ws')}`)
  await until(() => asked)
  const began = performance.now()
  await app.close()
  t.ok(performance.now() - began < FAR_TOO_LONG_MS)
  await client.ended
})

t.test('a connection does not retain the request and the response of its handshake', async (t) => {
  let request: WeakRef<object> | undefined
  let response: WeakRef<object> | undefined
  let closed = 0
  const { port } = await listening(t, async (app) => {
    app.addHook('onRequest', ({ raw }, reply, done) => {
      request = new WeakRef(raw)
      response = new WeakRef(reply.raw)
      reply.raw.once('close', () => { closed++ })
      done()
    })
    await plugin(app)
  })
  const client = new RawConnection(t, port).write(upgradeRequest('GET /ws'))
  await client.until(/"type":"connection"/)
  await until(() => {
    collect()
    return request?.deref() === undefined && response?.deref() === undefined
  })
  t.equal(closed, 1, 'a hook that waits for the end of the response is called')
  t.notOk(client.socket.destroyed)
})
