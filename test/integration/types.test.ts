import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import Fastify, { type FastifyInstance, type FastifyRequest } from 'fastify'
import t, { type Test } from 'tap'
import aiCanvasWs, {
  getWebSocketManager, redactedRequest, type Action, type AiCanvasWsOptions, type Broker, type BrokerNode, type BrokerSettings, type Client,
  type Identity, type Metrics, type Receipt, type Stats, type UnknownMessage, type WebSocketManager
} from 'ai-canvas-ws'
import { systemClock } from '../../lib/util/clock.js'
import { memoryBroker } from '../support/memory-broker.js'
import { connect } from '../support/ws-client.js'

// A wrong type here fails `npm run typecheck`: inferred types are compared, and calls that must not compile are marked as
// expected errors. What can be run is also run.

type IsAny<T> = 0 extends 1 & T ? true : false

type Same<A, B> = IsAny<A> extends true ? false : [A] extends [B] ? [B] extends [A] ? true : false : false

/** Compiles only if the two types are the same and not `any`. */
function same<A, B> (...differing: Same<A, B> extends true ? [] : ['these types differ', A, B]): void {
  t.same(differing, [])
}

function quietApp (t: Test): FastifyInstance {
  const app = Fastify({ logger: { level: 'silent', serializers: { req: redactedRequest } } })
  t.teardown(() => app.close())
  return app
}

t.test('the app and a request\'s server have a typed manager', async (t) => {
  const app = quietApp(t)
  await app.register(aiCanvasWs)
  same<typeof app.wsManager, WebSocketManager>()
  const found = getWebSocketManager()
  same<typeof found, WebSocketManager>()
  t.equal(found, app.wsManager)
  app.get('/notify', async (request) => {
    same<typeof request.server.wsManager, WebSocketManager>()
    return request.server.wsManager.notifyAIStart('s1', {})
  })
  t.match((await app.inject('/notify')).json(), { recipients: 0 })

  const typed = Fastify().withTypeProvider<TypeBoxTypeProvider>()
  t.teardown(() => typed.close())
  await typed.register(aiCanvasWs, { path: '/live' })
  same<typeof typed.wsManager, WebSocketManager>()
  t.equal((await typed.inject('/live')).statusCode, 426)
})

t.test('the hooks\' parameters are inferred, and the arguments match their types', async (t) => {
  const seen: string[] = []
  const app = quietApp(t)
  await app.register(aiCanvasWs, {
    authenticate: (request, { token, signal }) => {
      same<typeof request, FastifyRequest>()
      same<typeof token, string | undefined>()
      same<typeof signal, AbortSignal>()
      seen.push(`authenticate ${String(token)} ${String(signal.aborted)} ${request.method}`)
      return { userId: 'u1', expiresAt: new Date(Date.now() + 60_000), role: 'editor' }
    },
    authorize: (identity, action) => {
      same<typeof identity, Identity>()
      same<typeof action, Action>()
      same<typeof identity.userId, string | undefined>()
      same<typeof identity.role, unknown>()
      same<typeof action.type, 'subscribe' | 'cancel'>()
      seen.push(`authorize ${String(identity.userId)} ${String(identity.role)} ${action.type} ${action.sessionId}`)
      return Promise.resolve(true)
    },
    onMessage: (message, client) => {
      same<typeof message, UnknownMessage>()
      same<typeof client, Client>()
      same<typeof client.sessionIds, readonly string[]>()
      seen.push(`onMessage ${message.type} ${String(message.text)} ${String(client.userId)} ${client.sessionIds.join()}`)
      client.send({ type: 'echo', text: message.text })
    },
    stats: {
      preHandler: (request, reply, done) => {
        seen.push(`guard ${request.method} ${reply.statusCode}`)
        done()
      }
    }
  })
  const origin = (await app.listen({ port: 0, host: '127.0.0.1' })).replace('http', 'ws')
  const client = await connect(t, `${origin}/ws?token=secret&sessionId=s1`)
  client.send({ type: 'say', text: 'hello' })
  t.match(await client.next(), { type: 'echo', text: 'hello' })
  t.equal((await app.inject('/api/ws/stats')).statusCode, 200)
  t.same(seen, [
    'authenticate secret false GET', 'authorize u1 editor subscribe s1', 'onMessage say hello u1 s1', 'guard GET 200'
  ])
})

t.test('every option has a type, and so have the manager\'s return values', async (t) => {
  const options: Required<Omit<AiCanvasWsOptions, 'broker'>> = {
    path: '/ws',
    prefix: '',
    stats: false,
    publish: { path: '/publish', onRequest: (_request, _reply, done) => { done() }, bodyLimit: 1_000 },
    heartbeatIntervalMs: 30_000,
    closeTimeoutMs: 500,
    authenticate: () => null,
    authorize: true,
    origins: ['https://app.example.com'],
    onMessage: () => false,
    allowCancel: true,
    onCancel: () => false,
    limits: { connections: 1, connectionsPerUser: 1, sessionsPerConnection: 1, messagesPerSecond: 1, burst: 1, subscribesPerSecond: 1, authTimeoutMs: 1 },
    delivery: { maxOutboxBytes: 1, maxTotalOutboxBytes: 1, stallTimeoutMs: 1 },
    history: { maxMessages: 0, maxBytes: 1, ttlMs: 1, endTtlMs: 1, maxTotalBytes: 1, maxStreams: 1 },
    jobs: { stallAfterMs: 1, maxTextUnits: 1 },
    websocket: { maxPayload: 1024, perMessageDeflate: false }
  }
  const app = quietApp(t)
  await app.register(aiCanvasWs, options)
  const receipt = await app.wsManager.broadcast({ type: 'x', anything: [1, { else: true }] })
  const stats = app.wsManager.getStats({ sessionId: 's1', userId: 'u1', limit: 1 })
  const metrics = app.wsManager.getMetrics()
  same<typeof receipt, Receipt>()
  same<typeof receipt.seq, number | undefined>()
  same<typeof stats, Stats>()
  same<typeof metrics, Metrics>()
  t.equal(receipt.recipients + stats.totalConnections + metrics.messagesSent, 0)
})

t.test('an app\'s own broker can be written with the exported types', async (t) => {
  class Recording implements Broker {
    readonly streams: string[] = []
    readonly #inner = memoryBroker(systemClock)
    open (node: BrokerNode, { history }: BrokerSettings): void {
      t.equal(history.maxMessages, 1_000)
      this.#inner.open(node)
    }

    publish (...args: Parameters<Broker['publish']>): ReturnType<Broker['publish']> {
      this.streams.push(args[0])
      return Promise.resolve(this.#inner.publish(...args))
    }

    join (...args: Parameters<Broker['join']>): ReturnType<Broker['join']> { return this.#inner.join(...args) }
    leave (...args: Parameters<Broker['leave']>): void { this.#inner.leave(...args) }
    currentJob (...args: Parameters<Broker['currentJob']>): ReturnType<Broker['currentJob']> { return this.#inner.currentJob(...args) }
    adopt (...args: Parameters<Broker['adopt']>): ReturnType<Broker['adopt']> { return this.#inner.adopt(...args) }
    release (...args: Parameters<Broker['release']>): ReturnType<Broker['release']> { return this.#inner.release(...args) }
    revoke (...args: Parameters<Broker['revoke']>): ReturnType<Broker['revoke']> { this.#inner.revoke(...args) }
    cancel (...args: Parameters<Broker['cancel']>): ReturnType<Broker['cancel']> { return this.#inner.cancel(...args) }
    ask (...args: Parameters<Broker['ask']>): ReturnType<Broker['ask']> { return this.#inner.ask(...args) }
    close (): void { this.#inner.close() }
  }
  const broker = new Recording()
  const app = quietApp(t)
  await app.register(aiCanvasWs, { broker })
  await app.wsManager.notifyAIStart('s1', {})
  await app.wsManager.broadcastToUser('u1', { type: 'x' })
  t.same(broker.streams, ['session:s1', 'user:u1'])
})

t.test('invalid options do not compile, and are refused at run time', async (t) => {
  const mistakes: Record<string, AiCanvasWsOptions> = {
    // @ts-expect-error: a path is text
    path: { path: 5 },
    // @ts-expect-error: only `false` is more than the default
    stats: { stats: true },
    // @ts-expect-error: it needs a hook that guards it, so a path is not enough
    publish: { publish: '/publish' },
    // @ts-expect-error: milliseconds, and no unit
    heartbeatIntervalMs: { heartbeatIntervalMs: '30s' },
    // @ts-expect-error: several origins, or one in an array
    origins: { origins: 'https://app.example.com' },
    // @ts-expect-error: a hook is a function
    authenticate: { authenticate: 'jwt', authorize: true },
    // @ts-expect-error: `false` would shut everybody out
    authorize: { authorize: false },
    // @ts-expect-error: there is no such limit
    'limits.messagesPerMinute': { limits: { messagesPerMinute: 1 } },
    // @ts-expect-error: nothing is kept, or it is said how much
    history: { history: true },
    // @ts-expect-error: there is no such bound
    'history.size': { history: { size: 100 } },
    // @ts-expect-error: milliseconds, and no unit
    'jobs.stallAfterMs': { jobs: { stallAfterMs: '10m' } },
    // @ts-expect-error: a hook is a function
    onCancel: { onCancel: true },
    // @ts-expect-error: who may cancel, `authorize` says
    allowCancel: { allowCancel: () => true },
    // @ts-expect-error: it is `heartbeatIntervalMs`
    heartbeatMs: { heartbeatMs: 1 },
    // @ts-expect-error: what waits is counted in bytes
    'delivery.maxOutboxBytes': { delivery: { maxOutboxBytes: '1 MiB' } }
  }
  for (const [name, options] of Object.entries(mistakes)) {
    await t.rejects(async () => quietApp(t).register(aiCanvasWs, options), { code: 'AICW_ERR_INVALID_OPTION', message: `option "${name}" ` }, name)
  }

  // @ts-expect-error: the server and the route are the plugin's business
  const foreign: AiCanvasWsOptions['websocket'] = { noServer: true }
  // @ts-expect-error: an action has a type and a session, and nothing else
  const hook: AiCanvasWsOptions['authorize'] = (_identity, { roomId }) => roomId === 1
  // @ts-expect-error: an identity is an object
  const identity: AiCanvasWsOptions['authenticate'] = () => 'u1'
  t.ok([foreign, hook, identity])
})

t.test('invalid calls do not compile, and reject at run time', async (t) => {
  const app = quietApp(t)
  await app.register(aiCanvasWs)
  const { wsManager } = app
  // @ts-expect-error: an id is text
  await t.rejects(wsManager.notifyAIStart(5, {}), { code: 'AICW_ERR_INVALID_ID' })
  // @ts-expect-error: without a task
  await t.rejects(wsManager.notifyAIStart('s1'), { code: 'AICW_ERR_INVALID_MESSAGE' })
  // @ts-expect-error: a number is no progress
  await t.rejects(wsManager.notifyAIProgress('s1', 25), { code: 'AICW_ERR_INVALID_MESSAGE' })
  // @ts-expect-error: a text is no result
  await t.rejects(wsManager.notifyAIComplete('s1', 'done'), { code: 'AICW_ERR_INVALID_MESSAGE' })
  // @ts-expect-error: a message needs a type
  await t.rejects(wsManager.broadcastToSession('s1', { text: 'x' }), { code: 'AICW_ERR_INVALID_MESSAGE' })
  // @ts-expect-error: a type is text
  await t.rejects(wsManager.broadcastToUser('u1', { type: 1 }), { code: 'AICW_ERR_INVALID_MESSAGE' })
  // @ts-expect-error: milliseconds, and no unit
  t.throws(() => wsManager.createBatcher('s1', { intervalMs: '1s' }), { code: 'AICW_ERR_INVALID_OPTION' })
  // @ts-expect-error: further fields are welcome, documented ones of another type are not; JSON holds them all the same
  t.match(await wsManager.notifyAIProgress('s1', { chunksReceived: 'many' }), { recipients: 0 })
  // @ts-expect-error: an error has a type too
  t.match(await wsManager.notifyAIError('s1', { message: 'x' }), { recipients: 0 })
})
