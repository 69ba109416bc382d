import t, { type Test } from 'tap'
import type { Client } from '../../../lib/client/client.js'
import { clientOn, connected, FakePage, toldOf } from '../../support/fake-page.js'
import type { Message } from '../../support/ws-client.js'

const LIMITS = { sessions: 100, messagesPerSecond: 50, burst: 100, messageBytes: 65_536 }
const ids = (from: number, to: number): string[] => Array.from({ length: to - from }, (_, n) => `s${from + n}`)
const subscribed = (sessionId: string, fields: object = {}): object =>
  ({ type: 'subscribed', sessionId, timestamp: 't', epoch: 'e', seq: 0, recovered: false, reason: 'new', replaying: 0, ...fields })
/** Returns what a client sent, without the pings that find out how far the server has read. */
const sentOn = (page: FakePage): Message[] => page.socket.sent.filter(({ type }) => type !== 'ping')
/** Subscribes, uses up the rate limit so that the session is not left immediately, and unsubscribes. */
function releaseWhilePaced (page: FakePage, client: Client): void {
  const release = client.subscribe('a')
  page.clock.advance(0)
  for (let n = 0; n < 79; n++) client.send({ type: 'note' })
  release()
}

/** Replies to the pings so far, so that the client continues. */
function answerPings (page: FakePage): void {
  for (const { type } of page.socket.sent) if (type === 'ping') page.socket.say({ type: 'pong', timestamp: 't' })
  page.clock.advance(1000)
}
const subscribesOn = (page: FakePage): Message[] => page.socket.sent.filter(({ type }) => type.endsWith("subscribe"))
const complete = (sessionId: string, seq = 1): object => ({ type: 'ai_complete', sessionId, result: {}, timestamp: 't', jobId: 'j', seq })
const refused = (sessionId: string, code: string): object => ({ type: 'error', code, message: 'no', timestamp: 't', request: 'subscribe', sessionId })

/** A server that enforces its limits: refuses excess sessions and closes a connection that sends too fast. */
class Server {
  readonly held = new Set<string>()
  readonly refused: string[] = []
  /** Number of messages, and the arrival time of each. */
  readonly times: number[] = []
  flooded = false
  readonly #page: FakePage
  #read = 0
  #tokens = LIMITS.burst
  #at = 0

  constructor (page: FakePage) {
    this.#page = page
  }

  /** Reads the messages that have arrived and replies to them. */
  turn (): void {
    const { socket, clock } = this.#page
    const now = clock.monotonic()
    this.#tokens = Math.min(LIMITS.burst, this.#tokens + (now - this.#at) * LIMITS.messagesPerSecond / 1000)
    this.#at = now
    const messages = socket.sent.slice(this.#read)
    this.#read += messages.length
    for (const message of messages) {
      this.times.push(now)
      if (--this.#tokens < 0) this.flooded = true
      if (message.type === 'ping') this.#page.socket.say({ type: 'pong', timestamp: 't' })
      if (!message.type.endsWith('subscribe')) continue
      const entries = (message.sessions ?? [message.sessionId]) as Array<string | { sessionId: string }>
      for (const entry of entries) this.#answer(message, typeof entry === 'string' ? entry : entry.sessionId)
    }
  }

  #answer ({ type }: Message, id: string): void {
    const { socket } = this.#page
    if (type === 'unsubscribe') {
      this.held.delete(id)
      socket.say({ type: 'unsubscribed', sessionId: id, timestamp: 't' })
    } else if (type === 'subscribe' && !this.held.has(id) && this.held.size >= LIMITS.sessions) {
      this.refused.push(id)
      socket.say(refused(id, 'too_many_sessions'))
    } else if (type === 'subscribe') {
      this.held.add(id)
      socket.say(subscribed(id))
    }
  }
}

function limited (page: FakePage, limits: object | null = LIMITS): ReturnType<typeof connected> {
  return connected(page, {}, limits === null ? {} : { limits })
}

/** Subscribes to the sessions, and returns functions that unsubscribe. */
function follow (client: Client, list: readonly string[]): () => void {
  const releases = list.map((id) => client.subscribe(id))
  return () => { for (const release of releases) release() }
}

t.test('subscriptions within one turn share one message, and one that is released in the same turn costs none', async (t) => {
  const page = new FakePage()
  const client = limited(page)
  const release = follow(client, ids(0, 60))
  follow(client, ids(60, 80))()
  t.same(page.socket.sent, [{ type: 'subscribe', sessions: ids(0, 60).map((sessionId) => ({ sessionId })) }])
  release()
  follow(client, ids(0, 60))
  t.equal(page.socket.sent.length, 1)
})

t.test('when rows are replaced, unsubscribes are sent before subscribes, whatever the order of the calls', async (t) => {
  const page = new FakePage()
  const server = new Server(page)
  const client = limited(page)
  let release = follow(client, ids(0, 60))
  server.turn()
  for (let screen = 1; screen < 5; screen++) {
    const next = follow(client, ids(screen * 60, screen * 60 + 60))
    release()
    release = next
    server.turn()
    t.same([...server.held].sort(), ids(screen * 60, screen * 60 + 60).sort())
  }
  t.same(server.refused, [])
  t.equal(server.times.length, 9)
})

t.test('sessions beyond the limit have the status `waiting` and are subscribed to as soon as there is room', async (t) => {
  const page = new FakePage()
  const server = new Server(page)
  const client = limited(page)
  const store = client.jobStore('s120')
  const release = follow(client, ids(0, 120))
  follow(client, ['s120'])
  server.turn()
  t.same([server.held.size, server.refused], [100, []])
  const waiting = (): unknown[] => toldOf(client, 'subscription').filter(({ status }) => status === 'waiting').map(({ sessionId }) => sessionId as unknown)
  t.same(waiting(), ids(100, 121))
  t.equal(store.getSnapshot().subscription, 'waiting')
  client.unsubscribe('s3')
  server.turn()
  t.ok(server.held.has('s100') && !server.held.has('s3'), 'in the order of their subscribe calls')
  release()
  server.turn()
  t.same([...server.held], ['s120'])
  t.equal(store.getSnapshot().subscription, 'subscribed')
})

t.test('without stated limits the client learns the limit from a refusal', async (t) => {
  const page = new FakePage()
  const client = limited(page, null)
  follow(client, ids(0, 3))
  t.same(page.socket.sent, ids(0, 3).map((sessionId) => ({ type: 'subscribe', sessionId })), 'without batches, because the server may not support them')
  page.socket.say(subscribed('s0'), refused('s1', 'too_many_sessions'), subscribed('s2'))
  t.same(toldOf(client, 'subscription').at(-2), { sessionId: 's1', status: 'waiting' })
  page.clock.advance(1000)
  t.equal(page.socket.sent.length, 3, 'no retry while nothing has changed')
  follow(client, ['s3'])
  t.equal(page.socket.sent.length, 3)
  client.unsubscribe('s0')
  t.same(page.socket.sent.slice(3), [{ type: 'unsubscribe', sessionId: 's0' }, { type: 'subscribe', sessionId: 's1' }])
})

t.test('revoked access to a session makes room for another one', async (t) => {
  const page = new FakePage()
  const client = limited(page, { ...LIMITS, sessions: 1 })
  follow(client, ['a', 'b'])
  page.socket.say(subscribed('a'), { type: 'unsubscribed', sessionId: 'a', timestamp: 't', reason: 'revoked' })
  t.same(page.socket.sent.at(-1), { type: 'subscribe', sessionId: 'b' })
  page.socket.say(refused('b', 'forbidden'))
  t.same(toldOf(client, 'subscription').filter(({ status }) => status === 'refused').map(({ sessionId }) => sessionId as unknown), ['a', 'b'])
  t.equal(page.socket.sent.length, 2, 'no retry for either')
  client.subscribe('b')
  t.equal(page.socket.sent.length, 3, 'until there is a new subscriber')
})

t.test('fast scrolling through a list exceeds no limit, and ends with the visible sessions subscribed', async (t) => {
  const page = new FakePage()
  const server = new Server(page)
  const client = limited(page)
  let visible: string[] = []
  let release = (): void => { /* Ignore messages at first. */ }
  for (let frame = 0; frame < 1200; frame++) {
    const at = frame * 7919 % 980
    visible = ids(at, at + 20)
    const next = follow(client, visible)
    release()
    release = next
    server.turn()
    page.clock.advance(16)
  }
  page.clock.advance(500)
  server.turn()
  t.same([...server.held].sort(), [...visible].sort())
  t.same([server.refused, server.flooded], [[], false])
  t.equal(client.state, 'connected')
})

t.test('without replies the client sends only what a network may hold back and deliver at once', async (t) => {
  const page = new FakePage()
  const server = new Server(page)
  const client = limited(page)
  for (let turn = 0; turn < 200; turn++) {
    follow(client, [`s${turn % 100}`])()
    follow(client, [`kept${turn % 50}`])
    page.clock.advance(100)
  }
  t.ok(page.socket.sent.length < LIMITS.burst, `${page.socket.sent.length} messages`)
  server.turn()
  page.clock.advance(1000)
  server.turn()
  t.same([...server.held].sort(), Array.from({ length: 50 }, (_, n) => `kept${n}`).sort())
  t.notOk(server.flooded)
})

t.test('a client with 1,000 sessions and a limit of 100 subscribes to 100 without looping', async (t) => {
  const page = new FakePage()
  const server = new Server(page)
  const client = limited(page)
  follow(client, ids(0, 1000))
  for (let second = 0; second < 20; second++) {
    server.turn()
    page.clock.advance(1000)
  }
  t.same([server.held.size, server.refused, client.state, page.sockets.length], [100, [], 'connected', 1])
  t.equal(page.socket.sent.filter(({ type }) => type === 'subscribe').length, 1)
})

t.test('after a reconnect the client resubscribes to all sessions in one message, or in a few if it would be too long', async (t) => {
  for (const [messageBytes, messages] of [[65_536, 1], [4096, 4], [1, 99]]) {
    const page = new FakePage()
    const client = connected(page, { sessionId: 's0' }, { limits: { ...LIMITS, messageBytes } })
    follow(client, ids(1, 100))
    const turns = (): void => {
      const server = new Server(page)
      for (let turn = 0; turn < 200; turn++) {
        server.turn()
        page.clock.advance(25)
      }
    }
    turns()
    page.socket.end()
    page.clock.advance(1500)
    t.equal(page.socket.query.sessionId, 's0')
    page.socket.admit({ sessionId: 's0', epoch: 'e', seq: 0, recovered: true, limits: { ...LIMITS, messageBytes } })
    turns()
    t.equal(sentOn(page).length, messages)
    const entries = sentOn(page).flatMap((message) => (message.sessions ?? [message]) as Message[])
    t.same(entries.map(({ sessionId, since }) => [sessionId, since] as unknown[]), ids(1, 100).map((id) => [id, 'e:0']))
    for (const message of sentOn(page)) t.ok(message.sessions === undefined || JSON.stringify(message).length < messageBytes!)
  }
})

t.test('without stated limits there are none', async (t) => {
  const page = new FakePage()
  const client = limited(page, {})
  follow(client, ids(0, 1000))
  t.equal(page.socket.sent.flatMap(({ sessions }) => sessions as unknown[]).length, 1000)
  t.ok(page.socket.sent.length < 10)
  for (let n = 0; n < 1000; n++) client.send({ type: 'note', n })
  t.equal(page.socket.types.filter((type) => type === 'note').length, 1000)
})

t.test('messages that were ignored without a subscriber are recovered for the next subscriber', async (t) => {
  const page = new FakePage()
  const client = limited(page)
  const release = client.subscribe('a')
  page.socket.say(subscribed('a'))
  // The rate limit is used up, so that the session is not left immediately.
  for (let n = 0; n < 80; n++) client.send({ type: 'note' })
  release()
  page.socket.say(complete('a'))
  t.same(toldOf(client, 'message').filter(({ type }) => type === 'ai_complete'), [], 'there are no listeners')
  client.subscribe('a')
  answerPings(page)
  t.same(subscribesOn(page).slice(1), [{ type: 'subscribe', sessionId: 'a', since: 'e:0' }])
  page.socket.say(subscribed('a', { seq: 1, recovered: true, replaying: 1 }), complete('a'))
  t.equal(client.jobStore('a').getSnapshot().latest?.status, 'complete')
})

t.test('a reply that arrives without a subscriber does not count as a reply to the next subscriber', async (t) => {
  const page = new FakePage()
  const client = limited(page)
  releaseWhilePaced(page, client)
  page.socket.say(subscribed('a', { seq: 1, replaying: 1 }), complete('a'))
  client.subscribe('a')
  answerPings(page)
  t.same(subscribesOn(page).slice(1), [{ type: 'subscribe', sessionId: 'a' }])
})

t.test('messages before the reply that were ignored without a subscriber are recovered after the next reply', async (t) => {
  const page = new FakePage()
  const client = limited(page)
  releaseWhilePaced(page, client)
  page.socket.say({ type: 'news', sessionId: 'a' })
  client.subscribe('a')
  page.socket.say(subscribed('a'))
  t.equal(client.jobStore('a').getSnapshot().subscription, 'subscribed')
  answerPings(page)
  t.same(subscribesOn(page).slice(1), [{ type: 'subscribe', sessionId: 'a', since: 'e:0' }])
})

t.test('a failed resubscribe keeps the existing subscription and is retried', async (t) => {
  const page = new FakePage()
  const client = limited(page)
  client.subscribe('a')
  page.socket.say(subscribed('a'), complete('a', 3))
  page.socket.say(refused('a', 'unavailable'))
  t.equal(client.jobStore('a').getSnapshot().subscription, 'subscribed')
  page.socket.say(complete('a', 4))
  t.same(toldOf(client, 'message').filter(({ type }) => type === 'ai_complete'), [], 'the server sends it again after its reply')
  page.clock.advance(1500)
  t.equal(page.socket.sent.length, 3)
  page.socket.say(subscribed('a', { seq: 4, recovered: true, replaying: 1 }), complete('a', 1))
  t.equal(client.jobStore('a').getSnapshot().latest?.status, 'complete')
})

t.test('a list of sessions that `send` receives is sent as one message, and so is its unsubscribe', async (t) => {
  const page = new FakePage()
  const client = limited(page)
  client.send({ type: 'subscribe', sessions: [{ sessionId: 'a' }, { sessionId: 'b' }] })
  t.same(page.socket.sent, [{ type: 'subscribe', sessions: [{ sessionId: 'a' }, { sessionId: 'b' }] }])
  client.send({ type: 'unsubscribe', sessions: ['a', 'b'] })
  t.same(page.socket.sent.at(-1), { type: 'unsubscribe', sessions: ['a', 'b'] })
  client.send({ type: 'unsubscribe' })
  t.equal(page.socket.sent.length, 2, 'no further unsubscribe is sent')
})

t.test('an invalid id is refused alone, with an error event', async (t) => {
  const page = new FakePage()
  const client = limited(page)
  follow(client, ['a', ''])
  page.socket.say({ ...refused('', 'invalid_session_id') }, subscribed('a'))
  t.same([client.jobStore('').getSnapshot().subscription, client.jobStore('a').getSnapshot().subscription], ['refused', 'subscribed'])
  t.match(toldOf(client, 'error'), [{ code: 'invalid_session_id', sessionId: '' }])
})

// ---- a session's state

function statesOf (client: Client, id: string): unknown[] {
  const { isKnown, subscription } = client.jobStore(id).getSnapshot()
  return [isKnown, subscription]
}

t.test('an empty job list is not meaningful until the session\'s state has arrived', async (t) => {
  const page = new FakePage()
  const client = clientOn(page)
  t.same(statesOf(client, 'a'), [false, 'none'])
  client.subscribe('a')
  client.subscribe('b')
  t.same(statesOf(client, 'a'), [false, 'pending'])
  page.socket.admit({ sessionId: 'a', epoch: 'e', seq: 1, recovered: false, reason: 'new', replaying: 1 })
  t.same(statesOf(client, 'a'), [false, 'subscribed'], 'the state is arriving')
  page.socket.say(complete('a'))
  t.same(statesOf(client, 'a'), [true, 'subscribed'])
  page.socket.say(subscribed('b'))
  t.same(statesOf(client, 'b'), [true, 'subscribed'], 'the state is known to be empty')
  page.socket.end()
  t.same(statesOf(client, 'a'), [true, 'pending'])
  client.unsubscribe('a')
  page.clock.advance(0)
  t.same(statesOf(client, 'a'), [false, 'none'])
})

t.test('a snapshot stays the same object until something in it changes', async (t) => {
  const page = new FakePage()
  const client = limited(page)
  const store = client.jobStore('a')
  let told = 0
  store.subscribe(() => { told++ })
  const pending = store.getSnapshot()
  t.equal(store.getSnapshot(), pending)
  page.socket.say(subscribed('a'))
  const known = store.getSnapshot()
  t.not(known, pending)
  t.ok(Object.isFrozen(known) && Object.isFrozen(known.jobs))
  const before = told
  page.socket.say({ type: 'news', sessionId: 'a', seq: 1 })
  t.equal(store.getSnapshot(), known)
  t.equal(told, before)
  t.same([known.find('j'), known.jobs], [undefined, []])
  page.socket.say(complete('a', 2))
  t.match([store.getSnapshot().find('j')?.status, store.getSnapshot().jobs.length], ['complete', 1])
})

// ---- the app's own messages

t.test('messages are paced by the rate limit, in order, and sent after earlier subscriptions', async (t) => {
  const page = new FakePage()
  const server = new Server(page)
  const client = limited(page)
  client.subscribe('a')
  for (let n = 0; n < 120; n++) client.send({ type: 'note', n })
  t.equal(page.socket.types[0], 'subscribe')
  t.equal(page.socket.sent.length, 50, 'half of the burst may be in flight')
  for (let turn = 0; turn < 100; turn++) {
    server.turn()
    page.clock.advance(25)
  }
  t.notOk(server.flooded)
  t.same(sentOn(page).slice(1).map(({ n }) => n as unknown), Array.from({ length: 120 }, (_, n) => n))
})

t.test('a full queue is an error that names the option, and a disconnect loses no queued message', async (t) => {
  const page = new FakePage()
  const client = connected(page, { maxQueuedMessages: 2 }, { limits: { burst: 1, messagesPerSecond: 1 } })
  for (let n = 0; n < 3; n++) client.send({ type: 'note', n })
  t.throws(() => { client.send({ type: 'note' }) }, { code: 'queue_full', message: /maxQueuedMessages/ })
  page.socket.end()
  page.clock.advance(1500)
  page.socket.admit()
  t.same(page.socket.sent.map(({ n }) => n as unknown), [1, 2])
})

t.test('without a queue a message is sent immediately or rejected', async (t) => {
  const page = new FakePage()
  const client = connected(page, { maxQueuedMessages: 0 })
  client.send({ type: 'note' })
  t.equal(page.socket.sent.length, 1)
  page.socket.end()
  t.throws(() => { client.send({ type: 'note' }) }, { code: 'queue_full' })
})

// Each test covers a fault that a review found.

const gone = (sessionId: string): object => ({ type: 'unsubscribed', sessionId, timestamp: 't' })

t.test('a reply to a request from before an unsubscribe does not count for a later request', async (t) => {
  for (const [first, second, expected] of [
    [subscribed('a'), refused('a', 'forbidden'), 'refused'], [subscribed('a'), refused('a', 'unavailable'), 'pending'],
    [refused('a', 'forbidden'), subscribed('a'), 'subscribed'], [subscribed('a', { replaying: 3 }), subscribed('a'), 'subscribed']
  ] as const) {
    const page = new FakePage()
    const client = limited(page)
    client.subscribe('a')()
    const release = client.subscribe('a')
    t.equal(page.socket.sent.length, 1)
    release()
    t.equal(page.socket.sent.length, 2)
    client.subscribe('a')
    t.same(page.socket.types, ['subscribe', 'unsubscribe', 'subscribe'])
    page.socket.say(first, complete('a', 7), gone('a'), second)
    t.equal(client.jobStore('a').getSnapshot().subscription, expected)
    t.same(toldOf(client, 'message').filter(({ type }) => type === 'ai_complete'), [])
    page.socket.say(complete('a'))
    t.equal(client.jobStore('a').getSnapshot().latest?.status, expected === 'subscribed' ? 'complete' : undefined)
  }
})

t.test('access revoked before an unsubscribe does not affect a later request', async (t) => {
  const page = new FakePage()
  const client = limited(page)
  const release = client.subscribe('a')
  page.socket.say(subscribed('a'))
  release()
  t.equal(page.socket.sent.length, 2)
  client.subscribe('a')
  page.socket.say({ ...gone('a'), reason: 'revoked' }, gone('a'), subscribed('a'))
  t.equal(client.jobStore('a').getSnapshot().subscription, 'subscribed')
})

t.test('a listener that sends on every change causes no inconsistency', async (t) => {
  const page = new FakePage()
  const server = new Server(page)
  const client = limited(page, { ...LIMITS, sessions: 2 })
  client.on('subscription', () => { client.send({ type: 'log' }) })
  const release = follow(client, ['a', 'b'])
  server.turn()
  follow(client, ['c', 'd'])
  release()
  server.turn()
  t.same([...server.held], ['c', 'd'])
  t.same(['c', 'd'].map((id) => client.jobStore(id).getSnapshot().subscription), ['subscribed', 'subscribed'])
})

t.test('a server that has less room than it stated is asked again with increasing delays', async (t) => {
  const page = new FakePage()
  const client = limited(page)
  client.subscribe('a')
  page.socket.say(refused('a', 'too_many_sessions'))
  t.equal(client.jobStore('a').getSnapshot().subscription, 'waiting')
  follow(client, ['b'])
  t.equal(page.socket.sent.length, 2, 'there is room for other sessions')
  page.clock.advance(1500)
  t.equal(page.socket.sent.length, 3)
  page.socket.say(refused('a', 'too_many_sessions'))
  client.unsubscribe('a')
  page.clock.advance(5000)
  t.same(page.socket.types, ['subscribe', 'subscribe', 'subscribe'])
})

t.test('sessions do not wait behind the app\'s own messages', async (t) => {
  const page = new FakePage()
  const server = new Server(page)
  const client = limited(page)
  for (let n = 0; n < 140; n++) client.send({ type: 'note' })
  server.turn()
  page.clock.advance(60)
  client.subscribe('a')
  for (let turn = 0; turn < 4; turn++) {
    server.turn()
    page.clock.advance(25)
  }
  t.ok(server.held.has('a'))
})

t.test('a message sent in `open` goes after earlier subscriptions', async (t) => {
  const page = new FakePage()
  const client = clientOn(page)
  client.on('open', () => {
    client.subscribe('a')
    client.send({ type: 'ask', sessionId: 'a' })
  })
  client.subscribe('first')
  client.send({ type: 'early' })
  page.socket.admit({ sessionId: 'first', epoch: 'e', seq: 0, recovered: false, reason: 'new', replaying: 0, limits: LIMITS })
  t.same(page.socket.types, ['subscribe', 'early', 'ask'])
})

t.test('slow replies for one session do not delay other sessions', async (t) => {
  const page = new FakePage()
  const client = limited(page)
  for (let n = 0; n < 60; n++) {
    client.subscribe(`slow${n}`)
    answerPings(page)
  }
  client.subscribe('fast')
  page.clock.advance(50)
  t.match(page.socket.sent.at(-1), { type: 'subscribe', sessionId: 'fast' })
})

t.test('the app\'s own pings are paced too', async (t) => {
  const page = new FakePage()
  const server = new Server(page)
  const client = limited(page)
  for (let n = 0; n < 140; n++) client.send({ type: 'ping' })
  for (let turn = 0; turn < 200; turn++) {
    server.turn()
    page.clock.advance(25)
  }
  t.notOk(server.flooded)
  t.equal(client.metrics.messagesSent, page.socket.sent.length)
})

t.test('an invalid id is never put in the query', async (t) => {
  const page = new FakePage()
  const client = clientOn(page)
  follow(client, ['', 'a\nb', 'x'.repeat(257)])
  t.equal(page.socket.query.sessionId, undefined)
  page.socket.end()
  client.subscribe('good')
  page.clock.advance(3000)
  t.equal(page.socket.query.sessionId, 'good')
})

t.test('invalid values in place of ids have no effect', async (t) => {
  const page = new FakePage()
  const client = limited(page)
  for (const sessions of [[null], [{}], 'junk', [], [5], {}]) {
    client.send({ type: 'subscribe', sessions })
    client.send({ type: 'unsubscribe', sessions })
  }
  client.subscribe('a')
  t.match(page.socket.sent.at(-1), { type: 'subscribe', sessionId: 'a' })
})

t.test('a session with revoked access is no longer known', async (t) => {
  const page = new FakePage()
  const client = limited(page)
  client.subscribe('a')
  page.socket.say(subscribed('a'), { ...gone('a'), reason: 'revoked' })
  client.subscribe('a')
  t.same(statesOf(client, 'a'), [false, 'pending'])
})

t.test('a duplicate message is not emitted', async (t) => {
  const page = new FakePage()
  const client = limited(page)
  client.subscribe('a')
  page.socket.say(subscribed('a'), complete('a'))
  const before = client.jobStore('a').getSnapshot()
  page.socket.say(complete('a'))
  t.equal(client.jobStore('a').getSnapshot(), before)
})

t.test('if the client can\'t connect, `subscribe` throws and leaves no subscription behind', async (t) => {
  const page = new FakePage()
  Object.assign(page, { pageUrl: undefined })
  const client = clientOn(page)
  t.throws(() => client.subscribe('a'), { code: 'no_url' })
  t.throws(() => client.jobStore('b').subscribe(() => { /* Not used here. */ }), { code: 'no_url' })
  page.clock.advance(0)
  t.same(['a', 'b'].map((id) => statesOf(client, id)), [[false, 'none'], [false, 'none']])
})

t.test('a server with a tiny burst is not overloaded', async (t) => {
  for (const burst of [1, 2, 3, 5]) {
    const page = new FakePage()
    const client = limited(page, { ...LIMITS, burst, messagesPerSecond: 10 })
    let tokens = burst
    let read = 0
    let release = client.subscribe('s0')
    for (let n = 1; n < 200; n++) {
      const next = client.subscribe(`s${n}`)
      release()
      release = next
      page.clock.advance(20)
      tokens = Math.min(burst, tokens + 0.2)
      const messages = page.socket.sent.slice(read)
      read += messages.length
      tokens -= messages.length
      for (const { type, sessionId } of messages) page.socket.say(type === 'subscribe' ? subscribed(sessionId as string) : gone(sessionId as string))
      if (tokens < 0) break
    }
    t.ok(tokens >= 0, `burst ${burst}`)
  }
})

t.test('a cancel that can\'t be sent emits an error instead of throwing', async (t) => {
  const page = new FakePage()
  const client = connected(page)
  page.socket.end(4502)
  t.equal(client.state, 'closed')
  client.cancel('a', 'j')
  t.match(toldOf(client, 'error'), [{ code: 'closed', sessionId: 'a', jobId: 'j' }])
})

// ---- listeners

t.test('a listener that removes and adds itself during its call is called once per event', async (t: Test) => {
  const page = new FakePage()
  const client = connected(page)
  let calls = 0
  let stop: () => void
  const listener = (): void => {
    calls++
    stop()
    stop = client.on('news', listener)
  }
  stop = client.on('news', listener)
  page.socket.say({ type: 'news' })
  t.equal(calls, 1)
  page.socket.say({ type: 'news' })
  t.equal(calls, 2)
})

t.test('a listener that another listener removes is not called; one that another listener adds is called from the next event on', async (t) => {
  const page = new FakePage()
  const client = connected(page)
  const called: string[] = []
  client.on('news', () => {
    called.push('first')
    stop()
    client.on('news', () => { called.push('late') })
  })
  const stop = client.on('news', () => { called.push('second') })
  page.socket.say({ type: 'news' })
  t.same(called, ['first'])
})
