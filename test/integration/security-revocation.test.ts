import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import type { AiCanvasWsOptions, Authenticate, Authorize, Identity } from 'ai-canvas-ws'
import { deferred } from '../examples/support/deferred.js'
import { startApp, type StartedApp } from '../support/app.js'
import { connect, open } from '../support/ws-client.js'

const revoked = { code: 4502, reason: 'Access revoked' }
const expired = { code: 4002, reason: 'Token expired' }

const asQuery: Authenticate = (request) => ({ userId: (request.query as { who: string }).who })

function start (t: Test, authorize: Authorize = true, options: AiCanvasWsOptions = {}): Promise<StartedApp> {
  return startApp(t, { authenticate: asQuery, authorize, ...options })
}

t.test('revoking a user closes all of that user\'s connections permanently, and no others', async (t) => {
  const { app, url } = await start(t)
  const theirs = await Promise.all(['s1', 's2'].map((sessionId) => connect(t, url(`?who=user_1&sessionId=${sessionId}`))))
  const other = await connect(t, url('?who=user_2&sessionId=s1'))
  await app.wsManager.revoke('user_1')
  t.match(await app.wsManager.notifyAIStart('s1', {}), { recipients: 1 }, 'from this moment on')
  t.match(await app.wsManager.broadcastToUser('user_1', { type: 'secret' }), { recipients: 0 })
  for (const client of theirs) {
    t.same(await client.closed, revoked)
    t.same(client.waiting, [])
  }
  t.match(await other.sync(), [{ type: 'ai_start' }])
})

t.test('messages sent before the revocation still arrive, and none after it', async (t) => {
  const { app, url } = await start(t)
  const client = await connect(t, url('?who=user_1&sessionId=s1'))
  void app.wsManager.notifyAIStart('s1', { prompt: 'before' })
  void app.wsManager.revoke('user_1')
  void app.wsManager.notifyAIComplete('s1', { after: true })
  void app.wsManager.broadcast({ type: 'after' })
  t.same(await client.closed, revoked)
  t.match(client.waiting, [{ type: 'ai_start', task: { prompt: 'before' } }])
  t.equal(client.waiting.length, 1)
})

t.test('revoking a session unsubscribes that user and says so; other sessions and users stay', async (t) => {
  const { app, url } = await start(t)
  const first = await connect(t, url('?who=user_1&sessionId=s1'))
  const second = await connect(t, url('?who=user_1&sessionId=s2'))
  const other = await connect(t, url('?who=user_2&sessionId=s1'))
  first.send({ type: 'subscribe', sessionId: 's2' })
  await first.nextOf('subscribed')

  await app.wsManager.revoke('user_1', 's1')
  t.match(await first.next(), { type: 'unsubscribed', sessionId: 's1', reason: 'revoked' })
  t.match(await app.wsManager.notifyAIComplete('s1', { secret: true }), { recipients: 1 })
  t.match(await app.wsManager.notifyAIComplete('s2', {}), { recipients: 2 })
  t.match(await first.sync(), [{ type: 'ai_complete', sessionId: 's2' }])
  t.match(await second.sync(), [{ type: 'ai_complete', sessionId: 's2' }], 'which was never subscribed to s1, and is not affected')
  t.match(await other.sync(), [{ type: 'ai_complete', sessionId: 's1' }])
})

t.test('a client may subscribe again after a revocation, and the hook decides', async (t) => {
  let allowed = true
  const { app, url } = await start(t, () => allowed)
  const client = await connect(t, url('?who=user_1&sessionId=s1'))
  allowed = false
  await app.wsManager.revoke('user_1', 's1')
  t.match(await client.next(), { type: 'unsubscribed', reason: 'revoked' })
  client.send({ type: 'subscribe', sessionId: 's1' })
  t.match(await client.next(), { type: 'error', code: 'forbidden' })
  allowed = true
  client.send({ type: 'subscribe', sessionId: 's1' })
  t.match(await client.next(), { type: 'subscribed', sessionId: 's1' })
})

t.test('revoking an unknown user or a session without subscribers does nothing', async (t) => {
  const { app, url } = await start(t)
  const client = await connect(t, url('?who=user_1&sessionId=s1'))
  await app.wsManager.revoke('user_2')
  await app.wsManager.revoke('user_2', 's1')
  await app.wsManager.revoke('user_1', 's2')
  t.same(await client.sync(), [])
  await t.rejects(app.wsManager.revoke(''), { code: 'AICW_ERR_INVALID_ID' })
  await t.rejects(app.wsManager.revoke('user_1', ''), { code: 'AICW_ERR_INVALID_ID' })
})

t.test('a user who is revoked during authentication is not admitted by the earlier result', async (t) => {
  const asked = deferred()
  const answer = deferred<Identity>()
  const { app, url } = await startApp(t, {
    authenticate: () => {
      asked.resolve()
      return answer.promise
    },
    authorize: true
  })
  const client = open(t, url('?sessionId=s1'))
  await asked.promise
  await app.wsManager.revoke('user_1')
  answer.resolve({ userId: 'user_1' })
  t.same(await client.closed, revoked)
  t.same(client.received, [])
  t.match(await app.wsManager.notifyAIStart('s1', {}), { recipients: 0 })
})

t.test('another user who is being authenticated at the same time is admitted', async (t) => {
  const asked = deferred()
  const answer = deferred<Identity>()
  const { app, url } = await startApp(t, {
    authenticate: () => {
      asked.resolve()
      return answer.promise
    },
    authorize: true
  })
  const client = open(t, url('?sessionId=s1'))
  await asked.promise
  await app.wsManager.revoke('user_1')
  await app.wsManager.revoke('user_1', 's1')
  answer.resolve({ userId: 'user_2' })
  t.match(await client.next(), { type: 'connection', sessionId: 's1' })
})

t.test('a session that is revoked while the query\'s authorize is pending is not subscribed to', async (t) => {
  const asked = deferred()
  const answer = deferred<boolean>()
  const { app, url } = await start(t, () => {
    asked.resolve()
    return answer.promise
  })
  const client = open(t, url('?who=user_1&sessionId=s1'))
  await asked.promise
  await app.wsManager.revoke('user_1', 's1')
  answer.resolve(true)
  const greeting = await client.next()
  t.equal(greeting.type, 'connection')
  t.notOk('sessionId' in greeting)
  t.match(await client.next(), { type: 'error', code: 'forbidden', sessionId: 's1' })
  t.match(await app.wsManager.notifyAIComplete('s1', { secret: true }), { recipients: 0 })
  t.same(await client.sync(), [])
})

t.test('a user who is revoked while the query\'s authorize is pending is not admitted', async (t) => {
  const asked = deferred()
  const answer = deferred<boolean>()
  const { app, url } = await start(t, () => {
    asked.resolve()
    return answer.promise
  })
  const client = open(t, url('?who=user_1&sessionId=s1'))
  await asked.promise
  await app.wsManager.revoke('user_1')
  answer.resolve(true)
  t.same(await client.closed, revoked)
  t.same(client.received, [])
})

t.test('a session that is revoked while a subscribe is pending is not subscribed to', async (t) => {
  const asked = deferred()
  const answer = deferred<boolean>()
  const { app, url } = await start(t, () => {
    asked.resolve()
    return answer.promise
  })
  const client = await connect(t, url('?who=user_1'))
  client.send({ type: 'subscribe', sessionId: 's1' })
  await asked.promise
  await app.wsManager.revoke('user_1', 's1')
  t.match(await client.next(), { type: 'unsubscribed', sessionId: 's1', reason: 'revoked' })
  answer.resolve(true)
  t.same(await client.sync(), [])
  t.match(await app.wsManager.notifyAIComplete('s1', { secret: true }), { recipients: 0 })
  t.same(await client.sync(), [])
})

t.test('a user who is revoked while a subscribe is pending is closed, and the result has no effect', async (t) => {
  const asked = deferred()
  const answer = deferred<boolean>()
  const { app, url } = await start(t, () => {
    asked.resolve()
    return answer.promise
  })
  const client = await connect(t, url('?who=user_1'))
  client.send({ type: 'subscribe', sessionId: 's1' })
  await asked.promise
  await app.wsManager.revoke('user_1')
  answer.resolve(true)
  t.same(await client.closed, revoked)
  t.match(await app.wsManager.notifyAIStart('s1', {}), { recipients: 0 })
})

t.test('a connection ends with its identity, and the client may reconnect with a fresh one', async (t) => {
  for (const expiresAt of [() => Date.now() + 700, () => new Date(Date.now() + 700)]) {
    const { app, url } = await startApp(t, { authenticate: () => ({ userId: 'user_1', expiresAt: expiresAt() }), authorize: true })
    const began = Date.now()
    const client = await connect(t, url('?sessionId=s1'))
    void app.wsManager.notifyAIStart('s1', {})
    t.match(await client.next(), { type: 'ai_start' }, 'until then it is served')
    t.same(await client.closed, expired)
    t.ok(Date.now() >= began + 700, 'not earlier')
    await connect(t, url('?sessionId=s1'))
  }
})

t.test('each connection ends with its own identity', async (t) => {
  const { url } = await startApp(t, {
    authenticate: (request) => ({ userId: 'user_1', expiresAt: Date.now() + Number((request.query as { ms: string }).ms) }), authorize: true
  })
  const long = await connect(t, url('?ms=3600000'))
  const endless = await connect(t, url('?ms=Infinity'))
  const brief = await connect(t, url('?ms=100'))
  t.same(await brief.closed, expired)
  t.same(await long.sync(), [])
  t.same(await endless.sync(), [])
})

t.test('an identity that expires while authorize is pending ends the connection immediately', async (t) => {
  const { app, url } = await startApp(t, {
    authenticate: () => ({ userId: 'user_1', expiresAt: Date.now() + 50 }),
    authorize: () => new Promise((resolve) => { setTimeout(resolve, 100, true) })
  })
  const client = open(t, url('?sessionId=s1'))
  t.same(await client.closed, expired)
  t.match(await app.wsManager.notifyAIComplete('s1', { secret: true }), { recipients: 0 })
})

t.test('an identity expires at a date, not after a duration: if the clock is set back, it lasts longer', async (t) => {
  const { now } = Date
  t.teardown(() => { Date.now = now })
  const { url } = await startApp(t, { authenticate: () => ({ expiresAt: Date.now() + 100 }), authorize: true })
  const client = await connect(t, url())
  Date.now = () => now() - 60_000
  // Timers fire in the order in which they are due, and the connection's timer was due before this one.
  await sleep(150)
  t.same(await client.sync(), [])
})
