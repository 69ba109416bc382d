import { once } from 'node:events'
import { setImmediate as endOfTurn } from 'node:timers/promises'
import t, { type Test } from 'tap'
import type { AiCanvasWsOptions, Action, Authenticate, Identity } from 'ai-canvas-ws'
import { deferred } from '../examples/support/deferred.js'
import { startApp, type StartedApp, withoutPings } from '../support/app.js'
import { captureLog, type Line } from '../support/log.js'
import { until } from '../support/until.js'
import { connect, open } from '../support/ws-client.js'

const never = (): Promise<never> => new Promise(() => { /* a hook that hangs */ })

interface Guarded extends StartedApp { lines: Line[] }

async function startGuarded (t: Test, authenticate: unknown, options: AiCanvasWsOptions = {}): Promise<Guarded> {
  const { lines, stream } = captureLog()
  const started = await startApp(t, {
    ...withoutPings, authenticate: authenticate as Authenticate, authorize: true, ...options
  }, { logger: { level: 'trace', stream } })
  return { ...started, lines }
}

/** The number of connections, users and sessions, which is zero after all clients have disconnected. */
async function nobodyIsLeft (t: Test, { app }: StartedApp): Promise<void> {
  // Whatever a late result of a hook could trigger has happened after this.
  do await endOfTurn()
  while (app.wsManager.getStats().totalConnections > 0)
  t.match(app.wsManager.getStats(), { totalConnections: 0, clients: [] })
  t.match(await app.wsManager.broadcast({ type: 'x' }), { recipients: 0 })
}

t.test('without authenticate the query\'s userId is the client\'s identity', async (t) => {
  const { app, url } = await startApp(t)
  const client = await connect(t, url('?userId=user_1'))
  t.match(await app.wsManager.broadcastToUser('user_1', { type: 'hello' }), { recipients: 1 })
  t.match(await client.next(), { type: 'hello' })
})

t.test('an identity admits the client, whether returned or resolved', async (t) => {
  for (const authenticate of [() => ({ userId: 'user_1' }), async () => { await Promise.resolve(); return { userId: 'user_1' } }]) {
    const { app, url } = await startGuarded(t, authenticate)
    const client = await connect(t, url())
    t.match(app.wsManager.getStats(), { clients: [{ id: client.clientId, userId: 'user_1' }] })
  }
})

t.test('an identity without a user admits the client, which receives no user notifications', async (t) => {
  const { app, url } = await startGuarded(t, () => ({ role: 'guest' }))
  const client = await connect(t, url())
  t.match(await app.wsManager.broadcastToUser('undefined', { type: 'hello' }), { recipients: 0 })
  t.same(await client.sync(), [])
})

t.test('without an identity the connection is closed with 1008 after the upgrade, so that a browser sees the code', async (t) => {
  const failing = {
    'returns nothing': () => undefined,
    'returns null': () => null,
    'returns false': () => false,
    'resolves to nothing': () => Promise.resolve(),
    'throws': () => { throw new Error('a bad token') },
    'rejects': () => Promise.reject(new Error('a bad token')),
    'throws an HTTP error of the client\'s making': () => { throw Object.assign(new Error('no'), { statusCode: 401 }) },
    'throws a text': () => { throw 'no' as unknown as Error },
    'throws nothing': () => { throw undefined as unknown as Error },
    'throws what can\'t be written': () => { throw Object.create(null) as Error },
    'rejects with what can\'t be written': () => Promise.reject(Object.create(null) as Error),
    'throws an error whose message is no text': () => { throw Object.assign(new Error(), { message: { is: 'an object' } }) },
    'rejects with an error that has no message': () => Promise.reject(Object.assign(new Error(), { message: undefined, name: 7 }))
  }
  for (const [name, authenticate] of Object.entries(failing)) {
    const started = await startGuarded(t, authenticate)
    const client = open(t, started.url('?token=abcdefgh'))
    await once(client.ws, 'open')
    t.same(await client.closed, { code: 1008, reason: 'Unauthorized' }, name)
    t.same(client.received, [], `${name}: no message was sent before`)
    await nobodyIsLeft(t, started)
  }
})

t.test('an invalid identity is refused, and the log says what to fix', async (t) => {
  const junk: Array<[unknown, RegExp]> = [
    ['user_1', /return an object such as { userId }/],
    [true, /return an object/],
    [1, /return an object/],
    [Symbol('x'), /return an object/],
    [{ userId: 7 }, /userId must be a string/],
    [{ userId: '' }, /userId must be a string/],
    [{ userId: null }, /userId must be a string/],
    [{ userId: 'x'.repeat(257) }, /userId must be a string/],
    [{ userId: 'a\nb' }, /userId must be a string/],
    [{ userId: ['user_1'] }, /userId must be a string/],
    [{ userId: 'user_1', expiresAt: 'tomorrow' }, /expiresAt must be milliseconds/],
    [{ userId: 'user_1', expiresAt: NaN }, /expiresAt must be milliseconds/],
    [{ userId: 'user_1', expiresAt: new Date('x') }, /expiresAt must be milliseconds/],
    [{ userId: 'user_1', expiresAt: null }, /expiresAt must be milliseconds/],
    [{ userId: 'user_1', expiresAt: Math.floor(Date.now() / 1000) + 3600 }, /multiply the exp of a JWT by 1000/]
  ]
  let answer: unknown
  const { url, lines } = await startGuarded(t, () => answer)
  for (const [identity, fault] of junk) {
    answer = identity
    const client = open(t, url())
    t.same(await client.closed, { code: 1008, reason: 'Unauthorized' }, String(fault))
    t.match(lines.filter(({ fault }) => fault !== undefined).at(-1), { level: 50, fault })
  }
})

t.test('an expired identity is refused', async (t) => {
  for (const expiresAt of [Date.now() - 1, new Date(Date.now() - 60_000)]) {
    const { url } = await startGuarded(t, () => ({ userId: 'user_1', expiresAt }))
    t.same(await open(t, url()).closed, { code: 1008, reason: 'Unauthorized' })
  }
})

t.test('an error of the app\'s own is not a refusal: the client is asked to reconnect', async (t) => {
  const failures = {
    'an error': () => { throw Object.assign(new Error('the database is down'), { statusCode: 503 }) },
    'a rejection': () => Promise.reject(Object.assign(new Error('the database is down'), { statusCode: 500 })),
    'an object that is no error': () => { throw { statusCode: 502, message: 'the database is down' } as unknown as Error }
  }
  for (const [name, authenticate] of Object.entries(failures)) {
    const { app, url, lines } = await startGuarded(t, authenticate)
    t.same(await open(t, url()).closed, { code: 1011, reason: 'Server error' }, name)
    t.match(lines.find(({ msg }) => msg.startsWith('authenticate failed')), { level: 50, reason: 'the database is down' }, name)
    t.match(app.wsManager.getMetrics().closes, { serverError: 1 }, name)
  }
})

t.test('if a hook does not settle in time, the client is asked to come later, and the hook\'s signal aborts', async (t) => {
  let signal: AbortSignal | undefined
  const started = await startGuarded(t, (_request: unknown, context: { signal: AbortSignal }) => {
    signal = context.signal
    return never()
  }, { limits: { authTimeoutMs: 50 } })
  t.same(await open(t, started.url()).closed, { code: 1013, reason: 'Try again later' })
  t.equal(signal?.aborted, true)
  t.match(started.lines.find(({ authTimeoutMs }) => authTimeoutMs !== undefined), { level: 40, authTimeoutMs: 50 })
  await nobodyIsLeft(t, started)
})

t.test('a hook that settles after its timeout has no effect', async (t) => {
  for (const late of [{ userId: 'user_1' }, new Error('too late')]) {
    const settled = deferred<unknown>()
    const started = await startGuarded(t, async () => {
      const answer = await settled.promise
      if (answer instanceof Error) throw answer
      return answer
    }, { limits: { authTimeoutMs: 50 } })
    t.match(await open(t, started.url()).closed, { code: 1013 })
    settled.resolve(late)
    await nobodyIsLeft(t, started)
  }
})

t.test('a client that disconnects during authentication leaves nothing behind, and the hook\'s signal aborts', async (t) => {
  const asked = deferred<AbortSignal>()
  const answer = deferred<Identity>()
  const started = await startGuarded(t, (_request: unknown, { signal }: { signal: AbortSignal }) => {
    asked.resolve(signal)
    return answer.promise
  })
  const client = open(t, started.url('?sessionId=s1'))
  const signal = await asked.promise
  t.equal(signal.aborted, false)
  const aborted = once(signal, 'abort')
  client.ws.terminate()
  await aborted
  answer.resolve({ userId: 'user_1' })
  await answer.promise
  await nobodyIsLeft(t, started)
  t.match(await started.app.wsManager.notifyAIStart('s1', {}), { recipients: 0 })
  t.notOk(started.lines.some(({ msg }) => msg === 'client connected'))
})

t.test('a client that disconnects during authorize leaves nothing behind', async (t) => {
  const asked = deferred()
  const answer = deferred<boolean>()
  const started = await startGuarded(t, () => ({ userId: 'user_1' }), {
    authorize: () => {
      asked.resolve()
      return answer.promise
    }
  })
  const client = open(t, started.url('?sessionId=s1'))
  await asked.promise
  client.ws.close()
  await client.closed
  answer.resolve(true)
  await answer.promise
  await nobodyIsLeft(t, started)
})

t.test('a userId in the query must equal the authenticated one', async (t) => {
  const { url } = await startGuarded(t, () => ({ userId: 'user_1' }))
  t.match(await open(t, url('?userId=user_2')).closed, { code: 4500, reason: /^Bad request: userId is not the authenticated one$/ })
  await connect(t, url('?userId=user_1'))
})

t.test('a userId in the query has no effect on an identity without a user', async (t) => {
  const { url } = await startGuarded(t, () => ({}))
  t.match(await open(t, url('?userId=user_1')).closed, { code: 4500 })
})

t.test('the identity comes only from the hook: neither the query nor a message can add to it', async (t) => {
  const seen: Identity[] = []
  const { app, url } = await startGuarded(t, () => ({ userId: 'user_1', role: 'reader' }), {
    authorize: (identity: Identity) => {
      seen.push(identity)
      return true
    }
  })
  const client = await connect(t, url('?sessionId=s1&role=admin&expiresAt=9999999999999&identity[role]=admin'))
  client.send({ type: 'subscribe', sessionId: 's2', userId: 'user_2', role: 'admin', identity: { userId: 'user_2' } })
  t.match(await client.next(), { type: 'subscribed', sessionId: 's2' })
  t.same(seen, [{ userId: 'user_1', role: 'reader' }, { userId: 'user_1', role: 'reader' }])
  t.match(await app.wsManager.broadcastToUser('user_2', { type: 'secret' }), { recipients: 0 })
})

t.test('a user\'s messages reach that user\'s connections and no others', async (t) => {
  const { app, url } = await startGuarded(t, (request: { query: { who: string } }) => ({ userId: request.query.who }))
  const [first, second, other] = await Promise.all(['user_1', 'user_1', 'user_2'].map((who) => connect(t, url(`?who=${who}`))))
  t.match(await app.wsManager.broadcastToUser('user_1', { type: 'secret' }), { recipients: 2 })
  t.match(await first!.next(), { type: 'secret' })
  t.match(await second!.next(), { type: 'secret' })
  t.same(await other!.sync(), [])
})

t.test('a user and a session with the same id are independent', async (t) => {
  const { app, url } = await startApp(t)
  const user = await connect(t, url('?userId=same'))
  const session = await connect(t, url('?sessionId=same'))
  const sly = await connect(t, url('?sessionId=user:same'))
  await app.wsManager.broadcastToUser('same', { type: 'to_user' })
  await app.wsManager.broadcastToSession('same', { type: 'to_session' })
  t.match(await user.sync(), [{ type: 'to_user' }])
  t.match(await session.sync(), [{ type: 'to_session' }])
  t.same(await sly.sync(), [])
})

t.test('authenticate requires authorize, and the error names both solutions', async (t) => {
  await t.rejects(startApp(t, { authenticate: () => ({ userId: 'user_1' }) }), {
    code: 'AICW_ERR_AUTHORIZE_MISSING', message: /give a function \(identity, action\) => boolean, or true/
  })
})

t.test('authorize is called for the query\'s session and for every subscribe, each time', async (t) => {
  const asked: Action[] = []
  const { url } = await startGuarded(t, () => ({ userId: 'user_1' }), {
    authorize: (_identity: Identity, action: Action) => {
      asked.push(action)
      return true
    }
  })
  const client = await connect(t, url('?sessionId=s1'))
  for (const sessionId of ['s2', 's1', 's2']) {
    client.send({ type: 'subscribe', sessionId })
    await client.nextOf('subscribed')
  }
  t.same(asked, ['s1', 's2', 's1', 's2'].map((sessionId) => ({ type: 'subscribe', sessionId })))
})

t.test('if the query\'s session is denied, `connection` is followed by the error and by no message of the session', async (t) => {
  const denials: Array<[string, () => unknown, string]> = [
    ['says no', () => false, 'forbidden'],
    ['says no later', () => Promise.resolve(false), 'forbidden'],
    ['says something like yes', () => 1, 'forbidden'],
    ['says the word yes', () => Promise.resolve('true'), 'forbidden'],
    ['says nothing', () => undefined, 'forbidden'],
    ['throws', () => { throw new Error('broken') }, 'unavailable'],
    ['rejects', () => Promise.reject(new Error('broken')), 'unavailable'],
    ['never settles', never, 'unavailable']
  ]
  for (const [name, authorize, code] of denials) {
    const { app, url } = await startGuarded(t, () => ({ userId: 'user_1' }), {
      authorize: authorize as () => boolean, limits: { authTimeoutMs: 50 }
    })
    const client = open(t, url('?sessionId=s1'))
    const greeting = await client.next()
    t.match(greeting, { type: 'connection', status: 'connected' }, name)
    t.notOk('sessionId' in greeting || 'seq' in greeting, `${name}: nothing about the session is revealed`)
    t.match(await client.next(), { type: 'error', code, sessionId: 's1' }, name)
    client.send({ type: 'subscribe', sessionId: 's1' })
    t.match(await client.next(), { type: 'error', code, sessionId: 's1' }, `${name}: authorize is called again`)
    t.match(await app.wsManager.notifyAIComplete('s1', { secret: true }), { recipients: 0 }, name)
    t.same(await client.sync(), [], `${name}: it stays open and receives nothing`)
    t.match(app.wsManager.getStats({ sessionId: 's1' }), { clients: [] }, name)
  }
})

t.test('denying a session that the client is subscribed to ends the subscription', async (t) => {
  let allowed = true
  const { app, url } = await startGuarded(t, () => ({ userId: 'user_1' }), { authorize: () => allowed })
  const client = await connect(t, url('?sessionId=s1'))
  allowed = false
  client.send({ type: 'subscribe', sessionId: 's1' })
  t.match(await client.next(), { type: 'error', code: 'forbidden', sessionId: 's1' })
  t.match(await app.wsManager.notifyAIStart('s1', {}), { recipients: 0 })
})

t.test('the stats route hides ids from unauthenticated requests, and shows everything behind a guard', async (t) => {
  const who = (): Identity => ({ userId: 'user_1' })
  const allowed = (_request: unknown, _reply: unknown, done: () => void): void => { done() }
  const setups: Array<[AiCanvasWsOptions['stats'], boolean]> = [
    ['/api/ws/stats', false],
    [{ config: {} }, false],
    [{ onRequest: [] }, false],
    [{ onRequest: allowed }, true],
    [{ preHandler: [allowed] }, true]
  ]
  for (const [stats, isGuarded] of setups) {
    const { app, url } = await startGuarded(t, who, { stats: stats! })
    const client = await connect(t, url('?sessionId=s1'))
    const full = { id: client.clientId, userId: 'user_1', sessionId: 's1', isAlive: true, state: 1 }
    const answer = await app.inject('/api/ws/stats')
    t.same(answer.json(), { totalConnections: 1, activeConnections: 1, clients: [isGuarded ? full : { isAlive: true, state: 1 }] })
    for (const query of ['userId=user_1', 'sessionId=s1', 'userId=nobody']) {
      t.equal((await app.inject(`/api/ws/stats?${query}`)).statusCode, isGuarded ? 200 : 403, query)
    }
  }
})

t.test('a token that expires during authorize admits no client, and authorize is not called for clients that left', async (t) => {
  const asked: string[] = []
  const release = deferred<boolean>()
  const left = deferred()
  let expiresAt = Infinity
  const { app, url } = await startApp(t, {
    authenticate: async (request, { signal }) => {
      if ((request.query as { leaves?: string }).leaves !== undefined) {
        await new Promise((resolve) => { signal.addEventListener('abort', resolve) })
        left.resolve()
      }
      return { userId: 'u', expiresAt: expiresAt = Date.now() + 50 }
    },
    authorize: (_identity, { sessionId }) => {
      asked.push(sessionId)
      return release.promise
    }
  })
  await app.wsManager.notifyAIStart('s', {})
  const late = open(t, url('?sessionId=s'))
  await until(() => asked.length === 1 && Date.now() > expiresAt)
  release.resolve(true)
  t.same(await late.closed, { code: 4002, reason: 'Token expired' })
  t.strictSame(late.received, [])
  const leaver = open(t, url('?sessionId=left&leaves'))
  await once(leaver.ws, 'open')
  leaver.ws.terminate()
  await left.promise
  await endOfTurn()
  t.strictSame(asked, ['s'])
})
