import { Value } from '@sinclair/typebox/value'
import fc from 'fast-check'
import t from 'tap'
import { ServerMessage } from '../../../lib/protocol/messages.js'
import { turn } from '../../support/hand-broker.js'
import { handHook } from '../../support/hand-hook.js'
import { createFarServer, createServer, type Peer, type TestServer } from '../../support/server.js'
import type { Message } from '../../support/ws-client.js'
import type { Action, Identity } from '../../../lib/connections/identity.js'

// Random clients, checked against one rule: the subscriptions that a client was told about are the real ones, on every side.

/** Applies a reply to the subscriptions that a client knows about. */
function conclude (followed: Set<string>, { type, code, sessionId, request }: Message): void {
  if (type === 'subscribed') followed.add(sessionId as string)
  else if (type === 'unsubscribed' && sessionId === undefined) followed.clear()
  // The same code refuses a cancel, which does not change subscriptions.
  else if (type === 'unsubscribed' || (code === 'forbidden' && request === 'subscribe')) followed.delete(sessionId as string)
}

/** The `request` that an error must have for a message. */
function requestIn (bytes: Buffer, isBinary: boolean, code: string): string | undefined {
  if (isBinary || ['invalid_json', 'unknown_type'].includes(code)) return undefined
  const { type } = (JSON.parse(bytes.toString()) ?? {}) as { type?: unknown }
  // An error for an invalid message, rather than for its list of sessions, has no request.
  return typeof type === 'string' ? type : undefined
}

function isTrue (followed: Set<string>, server: TestServer | ReturnType<typeof createFarServer>, { connection }: Peer, all: Iterable<string>): boolean {
  const claimed = connection.sessionIds
  return claimed.length === followed.size && claimed.every((sessionId) => followed.has(sessionId)) &&
    [...all].every((sessionId) => server.hub.count(`session:${sessionId}`) === (followed.has(sessionId) ? 1 : 0))
}

const sessionId = fc.oneof(fc.constantFrom('a', 'b', '', '__proto__', 'x'.repeat(256), 'x'.repeat(257)), fc.string({ unit: 'binary', maxLength: 20 }))

const valid = fc.oneof(
  fc.constant({ type: 'ping' }),
  fc.record({ type: fc.constantFrom('subscribe', 'unsubscribe', 'cancel', '__proto__'), sessionId }),
  fc.constant({ type: 'unsubscribe' }),
  // With one entry, so that it gets one reply.
  sessionId.map((sessionId) => ({ type: 'subscribe', sessions: [{ sessionId }] })),
  sessionId.map((sessionId) => ({ type: 'unsubscribe', sessions: [sessionId] })),
  fc.record({ type: fc.constantFrom('subscribe', 'unsubscribe'), sessions: fc.constantFrom(null, 5, 'a', [], {}, [null], [5], [['a']]) })
)

/** A valid message in which a few fields are replaced. */
const misfit = fc.tuple(valid, fc.dictionary(fc.constantFrom('type', 'sessionId', 'since', '__proto__', 'constructor'), fc.jsonValue(), { maxKeys: 2 }))
  .map(([message, more]) => JSON.stringify({ ...message, ...more }))

/** The text of a valid message in which a few characters are replaced. */
const garbled = fc.tuple(valid, fc.array(fc.tuple(fc.nat(200), fc.nat(3), fc.string({ unit: 'binary', maxLength: 3 })), { maxLength: 4 }))
  .map(([message, edits]) => edits.reduce((text, [at, count, inserted]) => {
    const from = at % (text.length + 1)
    return text.slice(0, from) + inserted + text.slice(from + count)
  }, JSON.stringify(message)))

const data = fc.oneof(
  { weight: 2, arbitrary: fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)) },
  { weight: 2, arbitrary: fc.json().map((text) => Buffer.from(text)) },
  { weight: 3, arbitrary: valid.map((message) => Buffer.from(JSON.stringify(message))) },
  { weight: 3, arbitrary: misfit.map((text) => Buffer.from(text)) },
  { weight: 3, arbitrary: garbled.map((text) => Buffer.from(text)) }
)

t.test('any input gets one valid reply, and the connection\'s state matches the replies', async () => {
  const input = fc.array(fc.tuple(data, fc.nat(19)), { minLength: 1, maxLength: 20 })
  await fc.assert(fc.asyncProperty(input, async (sent) => {
    const server = createServer({ limits: { burst: Infinity, sessionsPerConnection: 3 } })
    const peer = await server.connect()
    const followed = new Set<string>()
    const seen = new Set<string>()
    for (const [bytes, odds] of sent) {
      const answers = peer.ask(bytes, odds === 0)
      const [answer] = answers
      if (answers.length !== 1 || !Value.Check(ServerMessage, answer)) return false
      if (answer.type === 'error' && answer.request !== requestIn(bytes, odds === 0, answer.code)) return false
      if (answer.type === 'subscribed') seen.add(answer.sessionId!)
      conclude(followed, answer)
      if (!isTrue(followed, server, peer, seen) || peer.connection.subscriptions.size !== followed.size) return false
    }
    const [pong, ...more] = peer.ask({ type: 'ping' })
    peer.leave()
    return pong!.type === 'pong' && more.length === 0 && server.connections.size === 0 &&
      [...seen].every((sessionId) => server.hub.count(`session:${sessionId}`) === 0)
  }), { numRuns: 500 })
})

t.test('with onMessage, each message gets at most one reply, and only unknown types reach the hook', async () => {
  await fc.assert(fc.asyncProperty(fc.array(data, { maxLength: 20 }), fc.array(fc.constantFrom('false', 'nothing', 'throw', 'reject')), async (sent, answers) => {
    let at = 0
    let known = 0
    const server = createServer({
      limits: { burst: Infinity },
      onMessage: ({ type }) => {
        if (['ping', 'subscribe', 'unsubscribe'].includes(type)) known++
        const answer = answers[at++ % (answers.length || 1)]
        if (answer === 'throw') throw new Error('thrown')
        if (answer === 'reject') return Promise.reject(new Error('rejected'))
        return answer === 'false' ? false : undefined
      }
    })
    const peer = await server.connect()
    for (const bytes of sent) {
      peer.send(bytes)
      await turn()
      if (peer.take().length > 1) return false
    }
    return known === 0 && peer.ask({ type: 'ping' }).length === 1
  }), { numRuns: 100 })
})

t.test('replies are true for every interleaving of permissions, the broker, revocations and requests', async () => {
  const session = fc.constantFrom('a', 'b')
  const step = fc.oneof(
    fc.record({ do: fc.constant('subscribe' as const), session }),
    fc.record({ do: fc.constant('unsubscribe' as const), session: fc.option(session, { nil: undefined }) }),
    fc.record({ do: fc.constant('subscribe all' as const) }),
    fc.record({ do: fc.constant('unsubscribe all' as const) }),
    fc.record({ do: fc.constant('wait' as const) }),
    fc.record({ do: fc.constant('revoke' as const), session }),
    fc.record({ do: fc.constant('decide' as const), at: fc.nat(), answer: fc.constantFrom(true, true, false, undefined) }),
    fc.record({ do: fc.constant('join' as const), at: fc.nat(), works: fc.boolean() })
  )
  await fc.assert(fc.asyncProperty(fc.array(fc.tuple(step, fc.boolean()), { minLength: 3, maxLength: 25 }), async (steps) => {
    const { hook, calls } = handHook<[Identity, Action], boolean>()
    // A small budget, so that some requests wait.
    const server = createFarServer({ authorize: hook, limits: { sessionsPerConnection: 2, subscribesPerSecond: 1 } })
    const { broker } = server
    const peer = await server.connect({ userId: 'u' })
    const followed = new Set<string>()
    const wanted = new Set<string>()
    let requests = 0
    const listen = (): boolean => {
      for (const message of peer.take()) conclude(followed, message)
      return isTrue(followed, server, peer, []) && [...followed].every((sessionId) => server.hub.count(`session:${sessionId}`) === 1)
    }
    for (const [step, pause] of steps) {
      if (step.do === 'subscribe') {
        requests++
        wanted.add(step.session)
        peer.send({ type: 'subscribe', sessionId: step.session })
      } else if (step.do === 'subscribe all') {
        requests += 2
        for (const session of ['a', 'b']) wanted.add(session)
        peer.send({ type: 'subscribe', sessions: [{ sessionId: 'a' }, { sessionId: 'b' }] })
      } else if (step.do === 'unsubscribe all') {
        wanted.clear()
        peer.send({ type: 'unsubscribe', sessions: ['b', 'a'] })
      } else if (step.do === 'wait') {
        server.clock.advance(1_000)
      } else if (step.do === 'unsubscribe') {
        if (step.session === undefined) wanted.clear()
        else wanted.delete(step.session)
        peer.send({ type: 'unsubscribe', sessionId: step.session })
      } else if (step.do === 'revoke') {
        void server.manager.revoke('u', step.session)
        broker.answer('revoke')
      } else if (step.do === 'decide' && calls.length > 0) {
        const [call] = calls.splice(step.at % calls.length, 1)
        if (step.answer === undefined) call!.fail(new Error('undecided'))
        else call!.answer(step.answer)
      } else if (step.do === 'join' && broker.waiting.length > 0) {
        const which = broker.waiting[step.at % broker.waiting.length]
        if (step.works) broker.answer(which)
        else broker.fail(which)
      }
      if (!pause) continue
      await turn()
      if (!listen()) return false
    }
    await turn()
    const isDeciding = (): boolean => [...peer.connection.subscriptions.values()].some(({ pending }) => pending)
    // Each request costs at most one decision, so this ends.
    for (let left = 0; calls.length > 0 || broker.waiting.length > 0 || isDeciding(); left++) {
      if (left > 4 * requests) return false
      server.clock.advance(1_001)
      for (const { answer } of calls.splice(0)) answer(true)
      broker.answer()
      await turn()
    }
    return listen() && [...followed].every((sessionId) => wanted.has(sessionId)) && isTrue(followed, server, peer, ['a', 'b']) &&
      [...peer.connection.subscriptions.values()].every(({ pending, joined, queued }) => !pending && joined && queued === undefined)
  }), { numRuns: 300 })
})
