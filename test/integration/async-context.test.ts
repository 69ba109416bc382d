import { AsyncLocalStorage } from 'node:async_hooks'
import { setImmediate as turn } from 'node:timers/promises'
import t, { type Test } from 'tap'
import type { Action, AiCanvasWsOptions, Identity } from 'ai-canvas-ws'
import type { MemoryBroker } from '../../lib/streams/memory-broker.js'
import { systemClock } from '../../lib/util/clock.js'
import { startApp, type StartedApp } from '../support/app.js'
import { captureLog } from '../support/log.js'
import { runScript } from '../support/child.js'
import { memoryBroker } from '../support/memory-broker.js'
import { until } from '../support/until.js'
import { open } from '../support/ws-client.js'

/** The async context of one request. */
interface Store { readonly user: string }

const USERS = Array.from({ length: 200 }, (_, at) => `user_${at}`)

/**
 * An app whose hook runs each request in its own async context, like request-context libraries and tracers. It holds upgrades
 * until all have arrived, so that all continue in one turn of the event loop.
 */
async function startWithStores (
  t: Test, makeOptions: (storage: AsyncLocalStorage<Store>) => AiCanvasWsOptions
): Promise<StartedApp> {
  const storage = new AsyncLocalStorage<Store>()
  const held: Array<() => void> = []
  return startApp(t, { authorize: true, limits: { connectionsPerUser: USERS.length }, ...makeOptions(storage) }, {}, (app) => {
    app.addHook('onRequest', (request, _reply, done) => {
      const { user } = request.query as Store
      held.push(() => { storage.run({ user }, done) })
      if (held.length === USERS.length) for (const goOn of held) goOn()
    })
  })
}

/**
 * Connects all users in one turn of the event loop, sends each a private message, and returns the users that received
 * another's.
 */
async function misdelivered (t: Test, { app, url }: StartedApp, query = ''): Promise<string[]> {
  const clients = USERS.map((user) => open(t, url(`?user=${user}${query}`)))
  await Promise.all(clients.map((client) => client.nextOf('connection')))
  await Promise.all(USERS.map((user) => app.wsManager.broadcastToUser(user, { type: 'private', user })))
  const received = await Promise.all(clients.map(async (client) => {
    await client.sync()
    return client.received.map((text) => JSON.parse(text) as { type: string, user?: string }).filter(({ type }) => type === 'private')
  }))
  return USERS.filter((user, at) => received[at]!.length !== 1 || received[at]![0]!.user !== user)
}

t.test('each of 200 upgrades in one turn is authenticated in its own request\'s context', async (t) => {
  const read: Record<string, (storage: AsyncLocalStorage<Store>) => AiCanvasWsOptions> = {
    'a hook that answers at once': (storage) => ({ authenticate: () => ({ userId: storage.getStore()!.user }) }),
    'a hook that waits first': (storage) => ({
      authenticate: async () => {
        await turn()
        return { userId: storage.getStore()!.user }
      }
    })
  }
  for (const [name, makeOptions] of Object.entries(read)) {
    t.strictSame(await misdelivered(t, await startWithStores(t, makeOptions)), [], name)
  }
})

t.test('authorize for the session in the URL runs in its own request\'s context', async (t) => {
  for (const isLate of [false, true]) {
    const wrong: string[] = []
    const started = await startWithStores(t, (storage) => ({
      authenticate: () => ({ userId: storage.getStore()!.user }),
      authorize: (identity: Identity, { sessionId }: Action) => {
        const check = (): boolean => {
          const user = storage.getStore()?.user
          if (user !== identity.userId) wrong.push(`${String(identity.userId)} in the context of ${String(user)}`)
          return sessionId === 's'
        }
        return isLate ? turn().then(check) : check()
      }
    }))
    t.strictSame(await misdelivered(t, started, '&sessionId=s'), [])
    t.strictSame(wrong, [], isLate ? 'late' : 'at once')
  }
})

/** The context of the server's own work and of a client's messages. */
interface Seen { readonly what: string, readonly user: string | undefined }

t.test('after admission a connection\'s work runs in no request\'s context', async (t) => {
  const seen: Seen[] = []
  const storage = new AsyncLocalStorage<Store>()
  const note = (what: string): void => { seen.push({ what, user: storage.getStore()?.user }) }
  const { lines, stream } = captureLog()
  const logger = { level: 'debug', stream, mixin: () => ({ user: storage.getStore()?.user ?? 'none' }) }
  const { app, url } = await startApp(t, {
    authenticate: async () => {
      await turn()
      return { userId: storage.getStore()!.user }
    },
    authorize: (_identity, { type, sessionId }) => {
      note(`${type} ${sessionId}`)
      return true
    },
    onMessage: ({ type }) => { note(type) },
    onCancel: ({ jobId }) => { note(`onCancel ${jobId}`) }
  }, { logger }, (app) => {
    app.addHook('onRequest', (request, _reply, done) => { storage.run({ user: (request.query as Store).user }, done) })
  })
  // A message long enough for the client to compress it, before and after admission.
  const long = { type: 'long', text: 'x'.repeat(5_000) }
  const clients = ['ann', 'bob'].map((user) => open(t, url(`?user=${user}&sessionId=of_${user}`), { perMessageDeflate: { threshold: 0 } }))
  for (const client of clients) client.ws.once('open', () => { client.send(long) })
  for (const client of clients) {
    await client.nextOf('connection')
    client.send(long)
    client.send({ type: 'subscribe', sessionId: 's' })
    client.send({ type: 'cancel', sessionId: 's', jobId: 'j' })
    await client.nextOf('cancelling')
  }
  t.strictSame(seen.filter(({ user }) => user !== undefined), [
    { what: 'subscribe of_ann', user: 'ann' }, { what: 'subscribe of_bob', user: 'bob' }
  ], 'but the session in the URL belongs to its request')
  t.equal(seen.length, 2 + 2 * 5)
  await Promise.all(clients.map((client) => client.close()))
  await until(() => app.wsManager.getStats().totalConnections === 0)
  t.strictSame(lines.filter(({ msg }) => msg === 'client connected').map(({ user, userId }) => user === userId), [true, true])
  t.strictSame(lines.filter(({ msg }) => msg === 'client disconnected').map(({ user }) => user as string), ['none', 'none'])
})

t.test('a job is reported in its own context, whichever timer or cancel triggers the report', async (t) => {
  const storage = new AsyncLocalStorage<string>()
  const published: string[] = []
  const broker = new Proxy(memoryBroker(systemClock), {
    get: (target, name: keyof MemoryBroker) => {
      const value: unknown = Reflect.get(target, name)
      if (typeof value !== 'function') return value
      return (...args: unknown[]): unknown => {
        if (name === 'publish') published.push(`${String(args[0])} in ${String(storage.getStore())}`)
        return Reflect.apply(value, target, args)
      }
    }
  })
  const { app } = await startApp(t, { broker })
  const run = async (name: string): Promise<void> => {
    async function * source (): AsyncGenerator<string> {
      yield 'a'
      yield 'b'
      await new Promise(() => { /* a model that stops responding */ })
    }
    for await (const chunk of app.wsManager.trackAI(name, {}, source(), { jobId: 'tracked', throttleMs: 20, text: true })) t.type(chunk, 'string')
  }
  const names = ['ann', 'bob', 'cid']
  const runs = names.map((name) => storage.run(name, () => run(name).catch((error: unknown) => String(error))))
  // The start, the first chunk immediately, and the second when the jobs' shared timer fires.
  await until(() => published.length === 3 * names.length)
  const signals = names.map((name) => storage.run(name, () => {
    const job = app.wsManager.startAI(name, {}, { jobId: 'handle' })
    const aborted: Array<string | undefined> = []
    job.signal.addEventListener('abort', () => { aborted.push(storage.getStore()) })
    return aborted
  }))
  for (const name of names) {
    await storage.run('somebody else', () => app.wsManager.cancelAI(name, { jobId: 'handle' }))
    await storage.run('somebody else', () => app.wsManager.cancelAI(name, { jobId: 'tracked' }))
  }
  t.match((await Promise.all(runs)).join(), /AbortError.*AbortError.*AbortError/)
  t.strictSame(published.filter((line) => !/^session:(.+) in \1$/.test(line)), [])
  t.strictSame(signals, names.map((name) => [name]))
})

t.test('a request\'s context is released while its connection, its timers and its batch continue', async (t) => {
  const child = runScript(t, new URL('../support/scripts/stores.ts', import.meta.url))
  t.equal(await child.next(), '40 connections, 41 stores, 0 in memory')
})
