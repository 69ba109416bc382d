import t from 'tap'
import type { Authorize } from '../../../lib/connections/subscriptions.js'
import type { Action, Identity } from '../../../lib/connections/identity.js'
import { turn } from '../../support/hand-broker.js'
import { handHook } from '../../support/hand-hook.js'
import { createFarServer, createServer } from '../../support/server.js'

const handAuthorize = () => handHook<[Identity, Action], boolean>()
const subscribe = { type: 'subscribe', sessionId: 's' }

t.test('authorize', async (t) => {
  const answers: Record<string, { authorize: Authorize, answer: object }> = {
    'true for all': { authorize: true, answer: { type: 'subscribed', sessionId: 's' } },
    'true at once': { authorize: () => true, answer: { type: 'subscribed', sessionId: 's' } },
    'true later': { authorize: async () => true, answer: { type: 'subscribed', sessionId: 's' } },
    'false at once': { authorize: () => false, answer: { type: 'error', code: 'forbidden', request: 'subscribe', sessionId: 's' } },
    'false later': { authorize: async () => false, answer: { type: 'error', code: 'forbidden', request: 'subscribe', sessionId: 's' } },
    'something truthy': { authorize: (() => ({ allowed: true })) as unknown as Authorize, answer: { type: 'error', code: 'forbidden' } },
    'something truthy later': { authorize: (async () => 'yes') as unknown as Authorize, answer: { type: 'error', code: 'forbidden' } },
    'nothing': { authorize: (() => undefined) as unknown as Authorize, answer: { type: 'error', code: 'forbidden' } },
    'a throw': { authorize: () => { throw new Error('no database') }, answer: { type: 'error', code: 'unavailable', request: 'subscribe', sessionId: 's' } },
    'a rejection': { authorize: async () => { throw new Error('no database') }, answer: { type: 'error', code: 'unavailable', request: 'subscribe', sessionId: 's' } },
    'a promise that can\'t be read': {
      authorize: () => Object.defineProperty({}, 'then', { get: () => { throw new Error('no promise') } }) as Promise<boolean>,
      answer: { type: 'error', code: 'unavailable' }
    }
  }
  for (const [what, { authorize, answer }] of Object.entries(answers)) {
    await t.test(what, async (t) => {
      const server = createServer({ authorize })
      const peer = await server.connect({ userId: 'u' })
      peer.send(subscribe)
      await turn()
      const got = peer.take()
      t.match(got, [answer])
      t.equal(got.length, 1)
      const subscriptions = got[0]!.type === 'subscribed'
      t.strictSame(peer.connection.sessionIds, subscriptions ? ['s'] : [])
      t.equal(server.hub.count('session:s'), subscriptions ? 1 : 0)
      t.equal(peer.connection.subscriptions.size, subscriptions ? 1 : 0, 'a refusal leaves no state')
      t.equal(server.clock.pending, 0, 'no timeout is left')
      if (got[0]!.code === 'unavailable') t.ok(server.logged.includes('error: authorize failed: access refused'))
    })
  }

  t.test('gets the identity and the action', async (t) => {
    const { hook, calls } = handAuthorize()
    const server = createServer({ authorize: hook })
    const peer = await server.connect({ userId: 'u' })
    peer.send(subscribe)
    t.strictSame(calls[0]!.args, [{ userId: 'u' }, { type: 'subscribe', sessionId: 's' }])
    t.equal(calls[0]!.args[0], peer.connection.identity)
  })

  t.test('that never settles makes the request unavailable', async (t) => {
    const { hook, calls } = handAuthorize()
    const server = createServer({ authorize: hook, limits: { authTimeoutMs: 5_000 } })
    const peer = await server.connect()
    peer.send(subscribe)
    server.clock.advance(4_999)
    await turn()
    t.strictSame(peer.take(), [])
    server.clock.advance(1)
    await turn()
    t.match(peer.take(), [{ type: 'error', code: 'unavailable', sessionId: 's' }])
    t.ok(server.logged.includes('warn: authorize did not settle in time: access refused'))
    calls[0]!.answer(true)
    await turn()
    t.strictSame(peer.take(), [], 'a late result is ignored')
    t.strictSame(peer.connection.sessionIds, [])
  })
})

t.test('one connection has many subscriptions, the latest last', async (t) => {
  const server = createServer()
  const peer = await server.connect({ sessionId: 'a' })
  peer.ask({ type: 'subscribe', sessionId: 'b' })
  peer.ask({ type: 'subscribe', sessionId: 'c' })
  t.strictSame(peer.connection.sessionIds, ['a', 'b', 'c'])
  t.match(peer.ask({ type: 'subscribe', sessionId: 'a' }), [{ type: 'subscribed', sessionId: 'a' }])
  t.strictSame(peer.connection.sessionIds, ['b', 'c', 'a'])
  void server.manager.notifyAIStart('b', {})
  void server.manager.notifyAIStart('a', {})
  t.match(peer.take(), [{ sessionId: 'b' }, { sessionId: 'a' }])
})

t.test('a repeated subscribe adds no second subscription', async (t) => {
  const server = createServer()
  const peer = await server.connect()
  for (let i = 0; i < 3; i++) t.match(peer.ask(subscribe), [{ type: 'subscribed', sessionId: 's' }])
  t.equal((await server.manager.notifyAIStart('s', {})).recipients, 1)
  t.equal(peer.take().length, 1)
  peer.ask({ type: 'unsubscribe', sessionId: 's' })
  t.equal((await server.manager.notifyAIStart('s', {})).recipients, 0)
})

t.test('unsubscribe', async (t) => {
  t.test('leaves one session', async (t) => {
    const server = createServer()
    const peer = await server.connect({ sessionId: 'a' })
    peer.ask({ type: 'subscribe', sessionId: 'b' })
    t.match(peer.ask({ type: 'unsubscribe', sessionId: 'a' }), [{ type: 'unsubscribed', sessionId: 'a' }])
    t.strictSame(peer.connection.sessionIds, ['b'])
  })

  t.test('leaves all, and not the user\'s own messages', async (t) => {
    const server = createServer()
    const peer = await server.connect({ userId: 'u', sessionId: 'a' })
    peer.ask({ type: 'subscribe', sessionId: 'b' })
    const [answer] = peer.ask({ type: 'unsubscribe' })
    t.strictSame(Object.keys(answer!), ['type', 'timestamp'])
    t.strictSame(peer.connection.sessionIds, [])
    t.equal((await server.manager.broadcastToUser('u', { type: 'note' })).recipients, 1)
  })

  t.test('is answered without a subscription too', async (t) => {
    const peer = await createServer().connect()
    t.match(peer.ask({ type: 'unsubscribe', sessionId: 'never' }), [{ type: 'unsubscribed', sessionId: 'never' }])
    t.match(peer.ask({ type: 'unsubscribe' }), [{ type: 'unsubscribed' }])
  })

  t.test('does not affect messages sent before, and stops later ones', async (t) => {
    const server = createServer()
    const peer = await server.connect({ sessionId: 's' })
    void server.manager.notifyAIStart('s', {})
    peer.send({ type: 'unsubscribe' })
    void server.manager.notifyAIComplete('s', {})
    t.match(peer.take(), [{ type: 'ai_start' }, { type: 'unsubscribed' }])
  })

  t.test('cancels a subscribe during authorize', async (t) => {
    const { hook, calls } = handAuthorize()
    const server = createServer({ authorize: hook })
    const peer = await server.connect()
    peer.send(subscribe)
    t.match(peer.ask({ type: 'unsubscribe' }), [{ type: 'unsubscribed' }])
    calls[0]!.answer(true)
    await turn()
    t.strictSame(peer.take(), [])
    t.equal(server.hub.count('session:s'), 0)
  })

  t.test('cancels a subscribe whose join is in flight', async (t) => {
    const server = createFarServer()
    const peer = await server.connect()
    peer.send(subscribe)
    t.match(peer.ask({ type: 'unsubscribe', sessionId: 's' }), [{ type: 'unsubscribed' }])
    server.broker.answer('join session:s')
    await turn()
    t.strictSame(peer.take(), [])
    t.strictSame(peer.connection.sessionIds, [])
    t.equal(server.hub.count('session:s'), 0)
  })

  t.test('cancels all pending requests for a session', async (t) => {
    const server = createFarServer()
    const peer = await server.connect()
    for (let i = 0; i < 3; i++) peer.send(subscribe)
    t.match(peer.ask({ type: 'unsubscribe' }), [{ type: 'unsubscribed' }])
    server.broker.answer()
    await turn()
    t.strictSame(server.broker.waiting, [], 'it is not joined again')
    t.strictSame(peer.take(), [])
    t.equal(peer.connection.subscriptions.size, 0)
  })

  t.test('followed by another subscribe: the latest request counts', async (t) => {
    const server = createFarServer()
    const peer = await server.connect()
    peer.send(subscribe)
    peer.send({ type: 'unsubscribe' })
    peer.send(subscribe)
    t.strictSame(server.broker.waiting, ['join session:s', 'join session:s'])
    server.broker.answer('join session:s')
    await turn()
    t.match(peer.take(), [{ type: 'unsubscribed' }])
    server.broker.answer('join session:s')
    await turn()
    t.match(peer.take(), [{ type: 'subscribed' }])
    t.strictSame(peer.connection.sessionIds, ['s'])
  })

  t.test('followed by another subscribe: a failure of the first does not affect it', async (t) => {
    const server = createFarServer()
    const peer = await server.connect()
    peer.send(subscribe)
    peer.send({ type: 'unsubscribe' })
    peer.send(subscribe)
    server.broker.fail('join session:s')
    await turn()
    t.match(peer.take(), [{ type: 'unsubscribed' }])
    server.broker.answer('join session:s')
    await turn()
    t.match(peer.take(), [{ type: 'subscribed' }])
    t.strictSame(peer.connection.sessionIds, ['s'])
    t.equal(server.hub.count('session:s'), 1)
  })
})

t.test('requests that arrive during authorize share one later call, and each gets a reply', async (t) => {
  const { hook, calls } = handAuthorize()
  const server = createServer({ authorize: hook })
  const peer = await server.connect()
  for (const answers of [[true, true], [true, false], [false, true], [false, false]]) {
    const asked = calls.length
    for (let i = 0; i < 4; i++) peer.send(subscribe)
    t.equal(calls.length, asked + 1, 'the first one is authorized at once')
    for (const [at, answer] of answers.entries()) {
      calls[asked + at]!.answer(answer)
      await turn()
      const expected = answer ? { type: 'subscribed', sessionId: 's' } : { type: 'error', code: 'forbidden', sessionId: 's' }
      t.match(peer.take(), at === 0 ? [expected] : [expected, expected, expected])
      t.strictSame(peer.connection.sessionIds, answer ? ['s'] : [])
      t.equal(server.hub.count('session:s'), answer ? 1 : 0)
    }
    t.equal(calls.length, asked + 2)
  }
})

t.test('the newest of the queued requests has the client\'s position', async (t) => {
  const { hook, calls } = handAuthorize()
  const server = createServer({ authorize: hook })
  const { epoch } = await server.manager.broadcastToSession('s', { type: 'note', n: 1 })
  for (let n = 2; n <= 5; n++) await server.manager.broadcastToSession('s', { type: 'note', n })
  const peer = await server.connect()
  for (const seq of [5, 1, 2, 3]) peer.send({ ...subscribe, since: `${epoch}:${seq}` })
  calls[0]!.answer(true)
  await turn()
  t.match(peer.take(), [{ type: 'subscribed', recovered: true, replaying: 0 }])
  calls[1]!.answer(true)
  await turn()
  const answer = { type: 'subscribed', recovered: true, replaying: 2, seq: 5 }
  t.match(peer.take(), [answer, answer, answer, { type: 'note', n: 4 }, { type: 'note', n: 5 }], 'it is replayed once')
})

t.test('only one of many queued requests is kept', async (t) => {
  const { hook, calls } = handAuthorize()
  const server = createServer({ authorize: hook, limits: { burst: 1e6 } })
  const peer = await server.connect()
  const have = Object.fromEntries(Array.from({ length: 100 }, (_, at) => [`job_${at}`, at]))
  for (let i = 0; i < 1_000; i++) peer.send({ ...subscribe, have })
  const follow = peer.connection.subscriptions.get('s')!
  t.match(follow.queued, { count: 999, request: { have: new Map(Object.entries(have)) } })
  t.strictSame(Object.keys(follow), ['pending', 'joined', 'queued'])
  peer.ask({ type: 'unsubscribe' })
  calls[0]!.answer(true)
  await turn()
  t.equal(calls.length, 1)
  t.strictSame(peer.take(), [], 'an unsubscribe cancels all of them')
})

t.test('authorize is not called after a disconnect', async (t) => {
  const { hook, calls } = handAuthorize()
  const server = createServer({ authorize: hook })
  const peer = await server.connect()
  peer.send(subscribe)
  peer.send(subscribe)
  peer.leave()
  calls[0]!.answer(true)
  await turn()
  t.equal(calls.length, 1)
  t.equal(server.hub.count('session:s'), 0)
  t.strictSame(peer.take(), [])
})

t.test('a repeated subscribe that is forbidden ends the subscription, and one that is unavailable does not', async (t) => {
  const { hook, calls } = handAuthorize()
  const server = createServer({ authorize: hook })
  const peer = await server.connect()
  const answered = async (give: (call: typeof calls[number]) => void): Promise<object> => {
    peer.send(subscribe)
    give(calls.at(-1)!)
    await turn()
    return peer.take()
  }
  t.match(await answered(({ answer }) => { answer(true) }), [{ type: 'subscribed' }])
  t.match(await answered(({ fail }) => { fail(new Error('no database')) }), [{ code: 'unavailable' }])
  t.equal((await server.manager.notifyAIStart('s', {})).recipients, 1, 'it is still subscribed')
  t.equal(peer.take().length, 1)
  t.match(await answered(({ answer }) => { answer(false) }), [{ code: 'forbidden' }])
  t.equal((await server.manager.notifyAIStart('s', {})).recipients, 0)
  t.strictSame(peer.connection.sessionIds, [])
})

t.test('a broker that can\'t join', async (t) => {
  t.test('makes the request unavailable, and leaves no state', async (t) => {
    const server = createFarServer()
    const peer = await server.connect()
    peer.send(subscribe)
    server.broker.fail('join session:s')
    await turn()
    t.match(peer.take(), [{ type: 'error', code: 'unavailable', sessionId: 's' }])
    t.equal(server.hub.count('session:s'), 0)
    t.equal(peer.connection.subscriptions.size, 0)
    t.ok(server.logged.includes('error: the broker could not join a session'))
    peer.send(subscribe)
    server.broker.answer('join session:s')
    await turn()
    t.match(peer.take(), [{ type: 'subscribed' }], 'and a retry can succeed')
  })

  t.test('does not end an existing subscription', async (t) => {
    const server = createFarServer()
    const peer = await server.connect({ sessionId: 's' })
    peer.send(subscribe)
    server.broker.fail('join session:s')
    await turn()
    t.match(peer.take(), [{ type: 'error', code: 'unavailable' }])
    t.strictSame(peer.connection.sessionIds, ['s'])
    t.equal(server.hub.count('session:s'), 1)
  })

  t.test('is ignored after an unsubscribe', async (t) => {
    const server = createFarServer()
    const peer = await server.connect()
    peer.send(subscribe)
    peer.send({ type: 'unsubscribe' })
    server.broker.fail('join session:s')
    await turn()
    t.match(peer.take(), [{ type: 'unsubscribed' }])
    t.equal(peer.connection.subscriptions.size, 0)
  })
})

t.test('nothing is lost between the broker\'s answer and the first live message', async (t) => {
  const server = createFarServer()
  const peer = await server.connect()
  void server.manager.notifyAIStart('s', {})
  server.broker.answer('publish session:s')
  peer.send(subscribe)
  server.broker.answer('join session:s')
  void server.manager.notifyAIComplete('s', {})
  server.broker.answer('publish session:s')
  await turn()
  const messages = peer.take()
  t.match(messages, [
    { type: 'subscribed', seq: 1, recovered: false, reason: 'new', replaying: 1 }, { type: 'ai_start', seq: 1 }, { type: 'ai_complete', seq: 2 }
  ])
  t.equal(messages.length, 3)
})

t.test('the number of subscriptions of a connection is limited', async (t) => {
  const { hook, calls } = handAuthorize()
  const server = createServer({ authorize: hook, limits: { sessionsPerConnection: 2 } })
  const peer = await server.connect({ sessionId: 'a' })
  peer.send({ type: 'subscribe', sessionId: 'b' })
  const [refusal] = peer.ask({ type: 'subscribe', sessionId: 'c' })
  t.match(refusal, { type: 'error', code: 'too_many_sessions', request: 'subscribe', sessionId: 'c' }, 'a pending one counts')
  t.match(refusal!.message, /may subscribe to 2 sessions: unsubscribe/)
  peer.send({ type: 'subscribe', sessionId: 'a' })
  calls.find(({ args }) => args[1].sessionId === 'a')!.answer(true)
  await turn()
  t.match(peer.take(), [{ type: 'subscribed', sessionId: 'a' }], 'an existing subscription may be repeated')
  calls.find(({ args }) => args[1].sessionId === 'b')!.answer(false)
  await turn()
  t.match(peer.take(), [{ code: 'forbidden', sessionId: 'b' }])
  peer.send({ type: 'subscribe', sessionId: 'c' })
  calls.at(-1)!.answer(true)
  await turn()
  t.match(peer.take(), [{ type: 'subscribed', sessionId: 'c' }], 'a refusal makes room')
})

t.test('revoke', async (t) => {
  t.test('of a session unsubscribes the user\'s connections and tells them', async (t) => {
    const server = createServer()
    const hit = await server.connect({ userId: 'u', sessionId: 's' })
    const other = await server.connect({ userId: 'v', sessionId: 's' })
    const bystander = await server.connect({ userId: 'u', sessionId: 'x' })
    await server.manager.revoke('u', 's')
    t.match(hit.take(), [{ type: 'unsubscribed', sessionId: 's', reason: 'revoked' }])
    t.strictSame(other.take(), [])
    t.strictSame(bystander.take(), [])
    t.equal((await server.manager.notifyAIStart('s', {})).recipients, 1)
    t.strictSame(hit.connection.sessionIds, [])
  })

  t.test('of a session refuses a pending request', async (t) => {
    const { hook, calls } = handAuthorize()
    const server = createServer({ authorize: hook })
    const peer = await server.connect({ userId: 'u' })
    peer.send(subscribe)
    await server.manager.revoke('u', 's')
    calls[0]!.answer(true)
    await turn()
    t.match(peer.take(), [{ type: 'unsubscribed', sessionId: 's', reason: 'revoked' }])
    t.equal(server.hub.count('session:s'), 0)
  })

  t.test('of all rights closes the user\'s connections permanently', async (t) => {
    const server = createServer()
    const hit = await server.connect({ userId: 'u', sessionId: 's' })
    const other = await server.connect({ userId: 'v', sessionId: 's' })
    await server.manager.revoke('u')
    t.same(hit.transport.closedWith, { code: 4502, reason: 'Access revoked' })
    t.equal(other.transport.closedWith, undefined)
    t.equal((await server.manager.notifyAIStart('s', {})).recipients, 1)
  })
})
