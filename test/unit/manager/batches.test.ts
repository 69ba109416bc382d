import t from 'tap'
import type { Action, Identity } from '../../../lib/connections/identity.js'
import { turn } from '../../support/hand-broker.js'
import { handHook } from '../../support/hand-hook.js'
import { createServer } from '../../support/server.js'
import type { Message } from '../../support/ws-client.js'

/** Names of sessions, and the entries of a `subscribe` to them. */
const names = (count: number, prefix = 's'): string[] => Array.from({ length: count }, (_, at) => `${prefix}${at}`)
const entries = (ids: readonly string[]): object[] => ids.map((sessionId) => ({ sessionId }))
const subscribe = (ids: readonly string[]): object => ({ type: 'subscribe', sessions: entries(ids) })
const idsOf = (messages: readonly Message[], type: string): unknown[] => messages.filter((message) => message.type === type).map(({ sessionId }): unknown => sessionId)

t.test('one subscribe joins many sessions, with one reply for each', async (t) => {
  const server = createServer({ authorize: (_identity, { sessionId }) => sessionId !== 'theirs' })
  const peer = await server.connect({ sessionId: 'z' })
  const answers = peer.ask(subscribe(['a', 'theirs', 'b']))
  t.match(answers, [
    { type: 'subscribed', sessionId: 'a', replaying: 0 },
    { type: 'error', code: 'forbidden', request: 'subscribe', sessionId: 'theirs' },
    { type: 'subscribed', sessionId: 'b' }
  ])
  t.equal(answers.length, 3)
  t.strictSame(peer.connection.sessionIds, ['z', 'a', 'b'])
})

t.test('each entry has its own recovery position', async (t) => {
  const server = createServer()
  const { epoch } = await server.manager.broadcastToSession('a', { type: 'note', n: 1 })
  await server.manager.broadcastToSession('a', { type: 'note', n: 2 })
  await server.manager.notifyAIProgress('b', { delta: 'some text' }, { jobId: 'j' })
  const peer = await server.connect()
  t.match(peer.ask({ type: 'subscribe', sessions: [{ sessionId: 'a', since: `${epoch}:1`, more: 1 }, { sessionId: 'b', have: { j: 5 } }, { sessionId: 'c', since: 5, have: [] }] }), [
    { type: 'subscribed', sessionId: 'a', recovered: true, replaying: 1 },
    { type: 'note', n: 2, replayed: 'missed' },
    { type: 'subscribed', sessionId: 'b', recovered: false, replaying: 1 },
    { type: 'ai_progress', progress: { delta: 'text', offset: 5 }, replayed: 'snapshot' },
    { type: 'subscribed', sessionId: 'c', reason: 'new' }
  ])
})

t.test('one unsubscribe leaves many sessions, with one reply for each', async (t) => {
  const server = createServer()
  const peer = await server.connect()
  peer.ask(subscribe(['a', 'b', 'c']))
  const answers = peer.ask({ type: 'unsubscribe', sessions: ['c', 'unknown', 'a'] })
  t.match(answers, ['c', 'unknown', 'a'].map((sessionId) => ({ type: 'unsubscribed', sessionId })))
  t.equal(answers.length, 3)
  t.strictSame(peer.connection.sessionIds, ['b'])
})

t.test('the last of several entries for one session counts, with one reply', async (t) => {
  const server = createServer()
  const { epoch } = await server.manager.broadcastToSession('a', { type: 'note' })
  const peer = await server.connect()
  const answers = peer.ask({ type: 'subscribe', sessions: [{ sessionId: 'a', since: 'none' }, { sessionId: 'b' }, { sessionId: 'a', since: `${epoch}:1` }] })
  t.match(answers, [{ type: 'subscribed', sessionId: 'a', recovered: true }, { type: 'subscribed', sessionId: 'b' }])
  t.equal(answers.length, 2)
  t.match(peer.ask({ type: 'unsubscribe', sessions: ['a', 'a', 'a'] }), [{ type: 'unsubscribed', sessionId: 'a' }])
  t.strictSame(peer.connection.sessionIds, ['b'])
})

t.test('an invalid batch has no effect, and one error names the fix', async (t) => {
  const isArray = /"sessions" must be an array such as \[.*\], with at least one entry and at most 3: send further ones in another message$/
  const bad: Array<[what: string, fields: object, code: string, message: RegExp]> = [
    ['null', { sessions: null }, 'invalid_message', isArray],
    ['an object', { sessions: { 0: 'a', length: 1 } }, 'invalid_message', isArray],
    ['a text', { sessions: 'abc' }, 'invalid_message', isArray],
    ['an empty array', { sessions: [] }, 'invalid_message', isArray],
    ['too many', { sessions: entries(names(4)) }, 'invalid_message', isArray],
    ['both forms', { sessionId: 'a', sessions: entries(['b']) }, 'invalid_message', /takes either a "sessionId" or "sessions", not both/],
    ['both forms, one of them null', { sessionId: null, sessions: entries(['b']) }, 'invalid_message', /, not both/]
  ]
  const server = createServer({ limits: { sessionsPerConnection: 3, burst: Infinity } })
  const peer = await server.connect({ sessionId: 'mine' })
  const refused = (message: Message | object, code: string, text: RegExp, what: string): void => {
    const { type } = message as Message
    const answers = peer.ask(message)
    t.match(answers, [{ type: 'error', code, message: text, request: type }], `${type}: ${what}`)
    t.equal(answers.length, 1)
    t.notOk('sessionId' in answers[0]!)
    t.strictSame(peer.connection.sessionIds, ['mine'])
  }
  for (const [what, fields, code, text] of bad) refused({ type: 'subscribe', ...fields }, code, text, what)
  for (const [what, fields, code, text] of bad) {
    const { sessions } = fields as { sessions: unknown }
    const ids = Array.isArray(sessions) ? sessions.map((entry) => (entry as { sessionId?: unknown } | null)?.sessionId) : sessions
    refused({ type: 'unsubscribe', ...fields, sessions: ids }, code, text, what)
  }
})

t.test('an entry with an invalid id is refused, and the others succeed', async (t) => {
  const server = createServer({ limits: { burst: Infinity } })
  const hasId = (at: number): RegExp => new RegExp(`^entry ${at} of "sessions" has no id that is a string of 1 to 256 .*: such an array is \\[`)
  const bad: Array<[entry: unknown, sessionId: string | undefined]> = [
    [{ sessionId: '' }, ''], [{ sessionId: 'a\nb' }, 'a\nb'], [{ sessionId: 'x'.repeat(257) }, 'x'.repeat(257)], [{ sessionId: '\ud800' }, '\ud800'],
    [{ sessionId: 5 }, undefined], [{}, undefined], [null, undefined], [['a'], undefined], ['a', undefined]
  ]
  for (const [entry, sessionId] of bad) {
    const peer = await server.connect()
    const answers = peer.ask({ type: 'subscribe', sessions: [{ sessionId: 'a' }, entry, { sessionId: 'b' }] })
    t.match(answers, [
      { type: 'error', code: 'invalid_session_id', message: hasId(1), request: 'subscribe', sessionId }, { type: 'subscribed', sessionId: 'a' }, { type: 'subscribed', sessionId: 'b' }
    ])
    t.equal('sessionId' in answers[0]!, sessionId !== undefined)
    const left = peer.ask({ type: 'unsubscribe', sessions: ['a', (entry as { sessionId?: unknown } | null)?.sessionId ?? null, 'b'] })
    t.match(left, [{ code: 'invalid_session_id', message: hasId(1), request: 'unsubscribe' }, { type: 'unsubscribed' }, { type: 'unsubscribed' }])
    t.strictSame(peer.connection.sessionIds, [])
  }
  const peer = await server.connect()
  t.match(peer.ask({ type: 'subscribe', sessions: [null, null] }).map(({ code }) => code as unknown), ['invalid_session_id', 'invalid_session_id'])
  t.match(peer.ask({ type: 'unsubscribe', sessions: entries(['mine']) }), [{ code: 'invalid_session_id', request: 'unsubscribe' }])
})

t.test('an entry answered without authorize counts as a message, so that lists can\'t amplify', async (t) => {
  const { hook } = handHook<[Identity, Action], boolean>()
  const server = createServer({ authorize: hook, limits: { burst: 10 } })
  const leaving = await server.connect()
  t.equal(leaving.ask({ type: 'unsubscribe', sessions: names(200) }).length, 11)
  t.match(leaving.transport.closedWith, { code: 4001 })
  const asking = await server.connect()
  asking.ask(subscribe(names(200)))
  t.equal(asking.transport.closedWith, undefined)
  t.match(asking.ask(subscribe(names(200))), [{ code: 'rate_limited' }])
  t.match(asking.transport.closedWith, { code: 4001 })
})

t.test('each refused entry counts as a message, so that lists can\'t amplify', async (t) => {
  const server = createServer({ limits: { burst: 10 } })
  const peer = await server.connect()
  const answers = peer.ask({ type: 'subscribe', sessions: Array.from({ length: 200 }, () => null) })
  t.equal(answers.length, 11)
  t.match(answers.at(-1), { code: 'rate_limited' })
  t.match(peer.transport.closedWith, { code: 4001 })
})

t.test('without a limit, a batch may have any number of entries', async (t) => {
  const server = createServer({ limits: { sessionsPerConnection: Infinity } })
  const peer = await server.connect()
  t.equal(idsOf(peer.ask(subscribe(names(1_000))), 'subscribed').length, 1_000)
  t.match(peer.ask(subscribe([])), [{ code: 'invalid_message', message: /with at least one entry: send/ }])
})

t.test('entries past the session limit are refused one by one, and existing subscriptions may be repeated', async (t) => {
  const server = createServer({ limits: { sessionsPerConnection: 3 } })
  const peer = await server.connect({ sessionId: 'a' })
  peer.ask(subscribe(['b']))
  t.match(peer.ask(subscribe(['c', 'd', 'b'])), [
    { type: 'subscribed', sessionId: 'c' }, { type: 'error', code: 'too_many_sessions', request: 'subscribe', sessionId: 'd' },
    { type: 'subscribed', sessionId: 'b' }
  ])
})

t.test('a page that swaps its sessions stays within the limit if it unsubscribes first', async (t) => {
  const server = createServer()
  const peer = await server.connect()
  peer.ask(subscribe(names(250, 'old')))
  peer.send({ type: 'unsubscribe', sessions: names(250, 'old') })
  t.equal(idsOf(peer.ask(subscribe(names(250, 'new'))), 'subscribed').length, 250)
  t.equal(peer.transport.closedWith, undefined)
})

t.test('a batch counts as one message', async (t) => {
  const server = createServer({ limits: { burst: 4, messagesPerSecond: 1 } })
  const peer = await server.connect()
  for (let i = 0; i < 2; i++) {
    peer.ask(subscribe(names(250)))
    peer.ask({ type: 'unsubscribe', sessions: names(250) })
  }
  t.equal(peer.transport.closedWith, undefined)
  peer.send({ type: 'ping' })
  t.equal(peer.transport.closedWith?.code, 4001, 'and is not free')
})

t.test('each entry past the session limit counts as a message, and none is handled after the rate limit', async (t) => {
  const server = createServer({ limits: { sessionsPerConnection: 20, burst: 10, messagesPerSecond: 1 } })
  const peer = await server.connect()
  peer.ask(subscribe(names(20)))
  const answers = peer.ask(subscribe(names(20, 'more')))
  t.equal(answers.filter(({ code }) => code === 'too_many_sessions').length, 9)
  t.match(answers.at(-1), { code: 'rate_limited' })
  t.equal(answers.length, 10)
  t.equal(peer.transport.closedWith?.code, 4001)
})

t.test('a single subscribe past the session limit is not free', async (t) => {
  const server = createServer({ limits: { sessionsPerConnection: 2, burst: 3, messagesPerSecond: 1 } })
  const peer = await server.connect()
  for (let i = 0; i < 2; i++) peer.send({ type: 'subscribe', sessionId: `s${i}` })
  for (let i = 0; i < 3; i++) peer.send({ type: 'subscribe', sessionId: 'more' })
  t.equal(peer.transport.closedWith, undefined)
  peer.send({ type: 'subscribe', sessionId: 'more' })
  t.equal(peer.transport.closedWith?.code, 4001)
})

t.test('an unsubscribe cancels a pending batch', async (t) => {
  const { hook, calls } = handHook<[Identity, Action], boolean>()
  const server = createServer({ authorize: hook })
  const peer = await server.connect()
  peer.send(subscribe(['a', 'b', 'c']))
  t.match(peer.ask({ type: 'unsubscribe', sessions: ['a', 'b'] }), [{ type: 'unsubscribed', sessionId: 'a' }, { type: 'unsubscribed', sessionId: 'b' }])
  for (const { answer } of calls) answer(true)
  await turn()
  t.strictSame(idsOf(peer.take(), 'subscribed'), ['c'])
  t.strictSame(peer.connection.sessionIds, ['c'])
})

t.test('authorize is not called for the rest of a batch after the connection closes', async (t) => {
  const asked: string[] = []
  const server = createServer({
    authorize: (_identity, { sessionId }) => {
      asked.push(sessionId)
      if (sessionId === 'b') void server.manager.revoke('u')
      return true
    }
  })
  const peer = await server.connect({ userId: 'u' })
  peer.ask(subscribe(['a', 'b', 'c', 'd']))
  t.strictSame(asked, ['a', 'b'])
  t.equal(peer.transport.closedWith?.code, 4502)
})
