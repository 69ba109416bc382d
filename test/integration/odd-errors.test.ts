import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { memoryBroker } from '../support/memory-broker.js'
import { systemClock } from '../../lib/util/clock.js'
import type { AiCanvasWsOptions, Broker } from 'ai-canvas-ws'
import { startApp, type StartedApp } from '../support/app.js'
import { captureLog, type Line } from '../support/log.js'
import { oddErrors } from '../support/odd-errors.js'
import { TestClient, type Message } from '../support/ws-client.js'

const AUTH_TIMEOUT_MS = 10

/** How a hook fails: by a throw, by a rejection, or by a rejection after its timeout. */
const modes = ['throws', 'rejects', 'rejects late'] as const
type Mode = typeof modes[number]

interface Failing extends StartedApp {
  lines: Line[]
  /** Makes the hook of this name fail in this way from now on. */
  arm: (name: string, mode: Mode, make: () => unknown) => void
  connect: (query?: string) => Promise<TestClient>
}

/** Unhandled rejections, which would have ended the process. */
const unheard: unknown[] = []
const listen = (reason: unknown): void => { unheard.push(reason) }
process.on('unhandledRejection', listen)
process.on('uncaughtException', listen)
t.teardown(() => {
  process.off('unhandledRejection', listen)
  process.off('uncaughtException', listen)
})

async function startFailing (t: Test): Promise<Failing> {
  let armed: { name: string, mode: Mode, make: () => unknown } | undefined
  function hook<A> (name: string, answer: A): A | Promise<A> {
    if (armed?.name !== name) return answer
    const { mode, make } = armed
    if (mode === 'throws') throw make()
    return sleep(mode === 'rejects' ? 0 : 3 * AUTH_TIMEOUT_MS).then(() => { throw make() })
  }
  const memory = memoryBroker(systemClock)
  const failing = <T>(name: string, right: () => T): T | Promise<T> => hook<Promise<T> | undefined>(name, undefined) as Promise<T> | undefined ?? right()
  const broker: Broker = {
    open: (node) => { memory.open(node) },
    publish: (stream, body, options) => failing('broker.publish', () => memory.publish(stream, body, options)),
    join: (stream, options) => failing('broker.join', () => memory.join(stream, options)),
    leave: (stream) => {
      memory.leave(stream)
      // Nothing handles a promise that it returns.
      if (armed?.mode === 'throws') void hook('broker.leave', undefined)
    },
    currentJob: (stream) => failing('broker.currentJob', () => memory.currentJob(stream)),
    adopt: (stream, jobId) => failing('broker.adopt', () => memory.adopt(stream, jobId)),
    release: (stream, jobId) => failing('broker.release', () => memory.release(stream, jobId)),
    revoke: async (revocation) => failing('broker.revoke', () => { memory.revoke(revocation) }),
    cancel: async (stream, jobId) => failing('broker.cancel', () => memory.cancel(stream, jobId)),
    ask: async (question) => failing('broker.ask', () => memory.ask(question)),
    close: () => { memory.close() }
  }
  const options: AiCanvasWsOptions = {
    broker,
    authenticate: () => hook('authenticate', { userId: 'u' }),
    authorize: (_identity, { type }) => hook(`authorize ${type}`, true),
    onMessage: (_message, client) => {
      if (armed?.name === 'client.send') client.send({ type: 'x', toJSON: () => { throw armed?.make() } })
      return hook('onMessage', undefined)
    },
    onCancel: () => hook('onCancel', undefined),
    limits: { authTimeoutMs: AUTH_TIMEOUT_MS, burst: 1e6 }
  }
  const { lines, stream } = captureLog()
  const started = await startApp(t, options, { logger: { level: 'debug', stream } })
  await started.app.ready()
  return {
    ...started,
    lines,
    arm: (name, mode, make) => { armed = { name, mode, make } },
    connect: async (query = '') => {
      let client: TestClient | undefined
      await started.app.injectWS(`/ws${query}`, {}, { onInit: (ws) => { client = new TestClient(ws) } })
      return client!
    }
  }
}

type Told = Pick<Message, 'type'> & { code?: unknown }

async function ask (client: TestClient, message: object): Promise<Told> {
  client.send(message)
  return client.next()
}

/** Makes a hook fail, and returns the message to its client. */
type Case = (failing: Failing, arm: () => void) => Promise<unknown>

const hooks: Record<string, Case> = {
  'authenticate': async ({ connect }, arm) => {
    arm()
    const { code } = await (await connect()).closed
    return [1008, 1013].includes(code) ? 'refused' : code
  },
  'authorize subscribe': async ({ connect }, arm) => {
    arm()
    const client = await connect('?sessionId=s')
    const [connection, denied] = [await client.next(), await client.next()]
    const again = await ask(client, { type: 'subscribe', sessionId: 's2' })
    client.ws.terminate()
    return [connection.sessionId, denied.code, again.code].join() === ',unavailable,unavailable' ? 'refused' : [connection, denied, again]
  },
  'authorize cancel': async ({ connect }, arm) => {
    const client = await connect()
    await client.next()
    arm()
    const { code } = await ask(client, { type: 'cancel', sessionId: 's', jobId: 'j' })
    client.ws.terminate()
    return code === 'unavailable' ? 'refused' : code
  },
  'onCancel': async ({ connect }, arm) => {
    const client = await connect()
    await client.next()
    arm()
    const { code } = await ask(client, { type: 'cancel', sessionId: 's', jobId: 'j' })
    client.ws.terminate()
    return code === 'unavailable' ? 'refused' : code
  },
  'onMessage': async ({ connect }, arm) => {
    const client = await connect()
    await client.next()
    arm()
    const { code } = await ask(client, { type: 'mine' })
    client.ws.terminate()
    return code === 'internal_error' ? 'refused' : code
  },
  'client.send': async ({ connect }, arm) => {
    const client = await connect()
    await client.next()
    arm()
    const { code } = await ask(client, { type: 'mine' })
    client.ws.terminate()
    return code === 'internal_error' ? 'refused' : code
  },
  'broker.join': async ({ connect }, arm) => {
    const client = await connect()
    await client.next()
    arm()
    const { code } = await ask(client, { type: 'subscribe', sessionId: 's' })
    client.ws.terminate()
    const closed = await (await connect()).closed
    return code === 'unavailable' && closed.code === 1013 ? 'refused' : [code, closed]
  },
  'broker.leave': async ({ connect }, arm) => {
    const client = await connect('?sessionId=s3')
    await client.next()
    arm()
    const { type } = await ask(client, { type: 'unsubscribe', sessionId: 's3' })
    await client.close()
    return type === 'unsubscribed' ? 'refused' : type
  },
  'broker.currentJob': async ({ connect }, arm) => {
    const client = await connect()
    await client.next()
    arm()
    const { code } = await ask(client, { type: 'cancel', sessionId: 's' })
    client.ws.terminate()
    return code === 'unavailable' ? 'refused' : code
  },
  'broker.revoke': async ({ app }, arm) => {
    arm()
    return await app.wsManager.revoke('nobody').then(() => 'revoked', () => 'refused')
  },
  'broker.adopt': async ({ app }, arm) => {
    await app.wsManager.notifyAIStart('s', {}, { jobId: 'adopted' })
    arm()
    return await app.wsManager.adoptAI('s', 'adopted').then(() => 'adopted', () => 'refused')
  },
  'broker.release': async ({ app }, arm) => {
    const job = app.wsManager.startAI('s', {}, { jobId: 'released' })
    await job.started
    arm()
    return await job.transfer().then(() => 'transferred', () => 'refused')
  },
  'broker.cancel': async ({ connect }, arm) => {
    const client = await connect()
    await client.next()
    arm()
    const { code } = await ask(client, { type: 'cancel', sessionId: 's', jobId: 'j' })
    client.ws.terminate()
    return code === 'unavailable' ? 'refused' : code
  },
  'broker.publish': async ({ app }, arm) => {
    arm()
    void app.wsManager.broadcast({ type: 'x' })
    return app.wsManager.notifyAIStart('s', {}).then(() => 'taken', () => 'refused')
  }
}

t.test('whatever a hook throws, its client is notified and the server continues', async (t) => {
  for (const [name, run] of Object.entries(hooks)) {
    const failing = await startFailing(t)
    for (const [what, make] of Object.entries(oddErrors)) {
      for (const mode of modes) {
        const outcome = await run(failing, () => { failing.arm(name, mode, make) })
        failing.arm('none', mode, make)
        t.equal(outcome, 'refused', `${name} ${mode} ${what}`)
      }
    }
    // The late failures have timed out now.
    await sleep(5 * AUTH_TIMEOUT_MS)
    const client = await failing.connect()
    t.match(await client.next(), { type: 'connection' }, `${name}: other clients are admitted`)
    client.ws.terminate()
  }
  t.same(unheard, [])
})

/** Reports a value that throws when it is read, or one that was thrown. Returns the job's end as a subscriber receives it. */
const reports: Record<string, (app: StartedApp['app'], make: () => unknown) => unknown> = {
  'notifyAIError': (app, make) => app.wsManager.notifyAIError('r', make() as Error),
  'handle.error': (app, make) => app.wsManager.startAI('r', {}).error(make() as Error),
  'notifyAIComplete': (app, make) => app.wsManager.notifyAIComplete('r', { get text () { throw make() } }),
  'notifyAIComplete of it': (app, make) => app.wsManager.notifyAIComplete('r', make() as Record<string, unknown>),
  'handle.complete': (app, make) => app.wsManager.startAI('r', {}).complete({ toJSON: () => { throw make() } }),
  'trackAI, its source': (app, make) => readAll(app.wsManager.trackAI('r', {}, { [Symbol.asyncIterator]: () => ({ next: () => { throw make() } }) } as AsyncIterable<string>)),
  'trackAI, its source later': (app, make) => readAll(app.wsManager.trackAI('r', {}, (async function* () {
    yield await Promise.resolve('a')
    throw make()
  })())),
  'trackAI, a promise of its source': (app, make) => readAll(app.wsManager.trackAI('r', {}, rejected(make))),
  'trackAI, its text': (app, make) => readAll(app.wsManager.trackAI('r', {}, ['a'], { text: () => { throw make() } })),
  'trackAI, its result': (app, make) => readAll(app.wsManager.trackAI('r', {}, ['a'], { result: () => { throw make() } })),
  'trackAI, its signal': (app, make) => readAll(app.wsManager.trackAI('r', {}, ['a'], { signal: AbortSignal.abort(make()) })),
  'trackAI, a chunk': (app, make) => readAll(app.wsManager.trackAI('r', {}, [{ type: 'error', error: make() }, { get type () { throw make() } }]))
}

async function readAll (chunks: AsyncIterable<unknown>): Promise<void> {
  const iterator = chunks[Symbol.asyncIterator]()
  while ((await iterator.next()).done !== true);
}

async function rejected (make: () => unknown): Promise<string[]> {
  await Promise.resolve()
  throw make()
}

t.test('whatever value is reported, the job ends', async (t) => {
  const { app, connect } = await startFailing(t)
  const client = await connect('?sessionId=r')
  await client.next()
  for (const [what, make] of Object.entries(oddErrors)) {
    for (const [name, report] of Object.entries(reports)) {
      await Promise.resolve(report(app, make)).catch(() => undefined)
      const messages = await client.sync()
      const ends = messages.filter(({ type }) => type === 'ai_error' || type === 'ai_complete')
      const isWell = ends[0]?.type === 'ai_complete' && name === 'notifyAIComplete of it'
      t.match(ends, isWell ? [{ result: {} }] : [{ type: 'ai_error', error: { message: String, type: String } }], `${name}: ${what}`)
      t.equal(ends.length, 1)
    }
    for (const send of [
      () => app.wsManager.broadcast({ type: 'x', get y () { throw make() } }),
      () => app.wsManager.broadcastToSession('r', make() as never),
      () => app.wsManager.notifyAIProgress('r', { get y () { throw make() } }),
      () => app.wsManager.notifyAIStart('r', { toJSON: () => { throw make() } })
    ]) await t.rejects(send(), { code: /^AICW_ERR_(?:NOT_SERIALIZABLE|INVALID_MESSAGE)$/ })
    const batcher = app.wsManager.createBatcher('r')
    t.throws(() => { batcher.push({ get y () { throw make() } }) }, { code: 'AICW_ERR_NOT_SERIALIZABLE' })
    batcher.close()
    await client.sync()
  }
  t.same(unheard, [])
})

t.test('an identity that can\'t be read admits no client', async (t) => {
  const identity = { get userId (): string { throw Symbol('s') as unknown as Error } }
  const { app } = await startApp(t, { authenticate: () => identity, authorize: true })
  await app.ready()
  let client: TestClient | undefined
  await app.injectWS('/ws', {}, { onInit: (ws) => { client = new TestClient(ws) } })
  t.match(await client!.closed, { code: 1011 })
})
