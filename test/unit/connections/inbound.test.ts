import t from 'tap'
import type { Client } from '../../../lib/connections/client-view.js'
import type { OnMessage, UnknownMessage } from '../../../lib/connections/inbound.js'
import { turn } from '../../support/hand-broker.js'
import { handHook } from '../../support/hand-hook.js'
import { createServer } from '../../support/server.js'

const custom = { type: 'cursor', x: 1 }

t.test('the messages of the protocol', async (t) => {
  const server = createServer()
  const peer = await server.connect()
  t.strictSame(peer.ask({ type: 'ping' }), [{ type: 'pong', timestamp: new Date(server.clock.now()).toISOString() }])
  t.match(peer.ask({ type: 'ping', sessionId: 5, more: {} }), [{ type: 'pong' }], 'further fields don\'t matter')
  t.match(peer.ask({ type: 'subscribe', sessionId: 's' }), [{ type: 'subscribed', sessionId: 's' }])
  t.match(peer.ask({ type: 'unsubscribe' }), [{ type: 'unsubscribed' }])
  t.match(peer.ask('\ufeff{"type":"ping"}'), [{ type: 'pong' }], 'a byte order mark is accepted')
  t.equal(server.counters.received, 5)
})

t.test('invalid messages get an error and change nothing', async (t) => {
  const subscribeTo = (sessionId: unknown): string => JSON.stringify({ type: 'subscribe', sessionId })
  const bad: Record<string, [code: string, message: string | object, isBinary?: boolean]> = {
    'nothing': ['invalid_json', ''],
    'not JSON': ['invalid_json', 'hello'],
    'half of a message': ['invalid_json', '{"type":"ping"'],
    'bytes that are no UTF-8': ['invalid_json', Buffer.from([0xff, 0xfe, 0x00])],
    'an own prototype': ['invalid_json', '{"type":"ping","__proto__":{"admin":true}}'],
    'an own prototype, escaped': ['invalid_json', '{"type":"ping","\\u005f_proto__":{"admin":true}}'],
    'an own prototype, deep inside': ['invalid_json', '{"type":"ping","a":[{"b":{"__proto__":null}}]}'],
    'a constructor\'s prototype': ['invalid_json', '{"type":"ping","constructor":{"prototype":{"admin":true}}}'],
    'null': ['invalid_message', 'null'],
    'a number': ['invalid_message', '42'],
    'a string': ['invalid_message', '"ping"'],
    'true': ['invalid_message', 'true'],
    'an array': ['invalid_message', '[{"type":"ping"}]'],
    'an object without a type': ['invalid_message', '{}'],
    'a type that is no string': ['invalid_message', '{"type":["ping"]}'],
    'an array with a type inside, nested deeper than any stack': ['invalid_message', '['.repeat(30_000) + ']'.repeat(30_000)],
    'an unknown type': ['unknown_type', '{"type":"shout"}'],
    'an empty type': ['unknown_type', '{"type":""}'],
    'a type of the server\'s own': ['unknown_type', '{"type":"ai_complete","sessionId":"s","result":{}}'],
    'a type that every object has': ['unknown_type', '{"type":"toString"}'],
    'the type __proto__': ['unknown_type', '{"type":"__proto__"}'],
    'binary': ['binary_not_supported', { type: 'ping' }, true],
    'no session id': ['invalid_session_id', '{"type":"subscribe"}'],
    'a session id that is null': ['invalid_session_id', subscribeTo(null)],
    'an empty session id': ['invalid_session_id', subscribeTo('')],
    'a number as session id': ['invalid_session_id', subscribeTo(5)],
    'an array as session id': ['invalid_session_id', subscribeTo(['s'])],
    'an object as session id': ['invalid_session_id', subscribeTo({ toString: 's' })],
    'a session id that is too long': ['invalid_session_id', subscribeTo('x'.repeat(257))],
    'a control character in it': ['invalid_session_id', subscribeTo('a\nb')],
    'NUL in it': ['invalid_session_id', subscribeTo('a\u0000')],
    'a C1 control character in it': ['invalid_session_id', subscribeTo('\u0085')],
    'half a surrogate pair in it': ['invalid_session_id', subscribeTo('a\ud800')],
    'the other half': ['invalid_session_id', subscribeTo('\udc00b')],
    'leaving a session id that is null': ['invalid_session_id', '{"type":"unsubscribe","sessionId":null}'],
    'leaving an empty session id': ['invalid_session_id', '{"type":"unsubscribe","sessionId":""}'],
    'a cancel without a session id': ['invalid_session_id', '{"type":"cancel"}'],
    'a cancel of a job id that is none': ['invalid_session_id', '{"type":"cancel","sessionId":"s","jobId":""}']
  }
  const server = createServer({ limits: { burst: Infinity } })
  const peer = await server.connect({ sessionId: 'mine' })
  for (const [what, [code, message, isBinary]] of Object.entries(bad)) {
    const answers = peer.ask(message, isBinary)
    t.match(answers, [{ type: 'error', code, message: /./ }], what)
    t.equal(answers.length, 1, what)
    t.strictSame(peer.connection.sessionIds, ['mine'], what)
  }
  t.equal(server.counters.received, Object.keys(bad).length, 'they count as received')
  t.equal(peer.transport.closedWith, undefined, 'and the connection stays open')
  t.notOk('admin' in {}, 'no prototype was touched')
})

t.test('ids are accepted up to their limit, unchanged', async (t) => {
  const server = createServer()
  const peer = await server.connect()
  for (const sessionId of ['x', ' ', 'x'.repeat(256), '__proto__', 'constructor', 'toString', 'Zoë', '🎨', 'a/b?c#d', '0']) {
    t.match(peer.ask({ type: 'subscribe', sessionId }), [{ type: 'subscribed', sessionId }])
    t.equal((await server.manager.notifyAIStart(sessionId, {})).recipients, 1, sessionId)
    t.match(peer.take(), [{ type: 'ai_start', sessionId }])
  }
})

t.test('a long type is shown shortened', async (t) => {
  const peer = await createServer().connect()
  const [answer] = peer.ask({ type: 'x'.repeat(60_000) })
  t.ok((answer!.message as string).length < 200)
})

t.test('after the rate limit, no message is handled', async (t) => {
  const server = createServer({ limits: { burst: 2, messagesPerSecond: 1 } })
  const peer = await server.connect()
  for (let i = 0; i < 5; i++) peer.send({ type: 'ping' })
  t.strictSame(peer.take().map(({ type }) => type), ['pong', 'pong', 'error'])
  t.equal(server.counters.received, 3)
  t.same(peer.transport.closedWith, { code: 4001, reason: 'Rate limit exceeded' })
})

t.test('invalid messages count for the rate limit too', async (t) => {
  const server = createServer({ limits: { burst: 3 } })
  const peer = await server.connect()
  for (let i = 0; i < 4; i++) peer.send('nonsense')
  t.match(peer.take().at(-1), { code: 'rate_limited' })
})

t.test('onMessage', async (t) => {
  t.test('gets the message and the client, and may reply', async (t) => {
    const seen: Array<[UnknownMessage, Client]> = []
    const server = createServer({ onMessage: (message, client) => { seen.push([message, client]) } })
    const peer = await server.connect({ userId: 'u', sessionId: 's' })
    t.strictSame(peer.ask(custom), [], 'no answer of the server\'s own')
    t.strictSame(seen[0]![0], custom)
    t.match(seen[0]![1], { id: peer.connection.id, userId: 'u', identity: { userId: 'u' }, sessionIds: ['s'] })
  })

  t.test('is not called for messages of the protocol', async (t) => {
    const server = createServer({ onMessage: () => { t.fail('asked') } })
    const peer = await server.connect()
    for (const message of [{ type: 'ping' }, { type: 'subscribe' }, { type: 'unsubscribe' }, {}, []]) peer.ask(message)
  })

  const answers: Record<string, [onMessage: OnMessage, code: string | undefined]> = {
    'nothing': [() => undefined, undefined],
    'nothing later': [async () => undefined, undefined],
    'null': [() => null, undefined],
    'something': [() => ({ handled: true }), undefined],
    'true later': [async () => true, undefined],
    'false': [() => false, 'unknown_type'],
    'false later': [async () => false, 'unknown_type'],
    'a throw': [() => { throw new Error('database') }, 'internal_error'],
    'a throw of nothing': [() => { throw undefined as unknown as Error }, 'internal_error'],
    'a rejection': [async () => { throw new Error('database') }, 'internal_error'],
    'a promise that can\'t be read': [
      () => Object.defineProperty({}, 'then', { get: () => { throw new Error('no promise') } }), 'internal_error'
    ]
  }
  for (const [what, [onMessage, code]] of Object.entries(answers)) {
    await t.test(`answers ${what}`, async (t) => {
      const server = createServer({ onMessage })
      const peer = await server.connect()
      peer.send(custom)
      await turn()
      t.match(peer.take(), code === undefined ? [] : [{ type: 'error', code }])
      t.match(peer.ask({ type: 'ping' }), [{ type: 'pong' }], 'and the connection continues')
      const logged = server.log.entries.filter(({ level }) => level === 'error')
      if (code === 'internal_error') t.match(logged, [{ message: 'onMessage failed', fields: { type: 'cursor', clientId: peer.connection.id } }])
      else t.strictSame(logged, [])
    })
  }

  t.test('may never settle', async (t) => {
    const { hook } = handHook<[UnknownMessage, Client], unknown>()
    const peer = await createServer({ onMessage: hook }).connect()
    peer.send(custom)
    await turn()
    t.match(peer.ask({ type: 'ping' }), [{ type: 'pong' }])
  })

  t.test('settles after a disconnect: no error is sent or counted', async (t) => {
    const { hook, calls } = handHook<[UnknownMessage, Client], unknown>()
    const server = createServer({ onMessage: hook })
    const peer = await server.connect()
    peer.send(custom)
    peer.send(custom)
    peer.leave()
    calls[0]!.answer(false)
    calls[1]!.fail(new Error('database'))
    await turn()
    t.strictSame(peer.take(), [])
    t.strictSame(server.manager.getMetrics().errors, {})
    t.ok(server.logged.includes('error: onMessage failed'), 'but its failure is logged')
  })

  t.test('never sees a payload in the log', async (t) => {
    const server = createServer({ onMessage: () => { throw new Error('database') } })
    const peer = await server.connect()
    peer.send({ type: 'x'.repeat(1_000), password: 'hunter2' })
    const text = JSON.stringify(server.log.entries)
    t.notMatch(text, /hunter2/)
    t.notMatch(text, /x{65}/)
  })
})

t.test('messages of a closing connection are ignored', async (t) => {
  const server = createServer()
  const peer = await server.connect()
  server.connections.close(peer.connection, 'restart')
  t.strictSame(peer.ask({ type: 'ping' }), [])
  server.inbound.unsolicited(peer.connection)
  t.equal(server.counters.received, 0)
})
