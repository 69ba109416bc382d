import t from 'tap'
import { aiErrorTypes } from '../../../lib/protocol/codes.js'
import { clientOn, connected, FakePage, toldOf, type Telling } from '../../support/fake-page.js'

const position = { epoch: 'e', recovered: true, replaying: 0 }
const start = (seq: number, jobId = 'j', sessionId = 's'): object => ({ type: 'ai_start', sessionId, task: { prompt: 'x' }, timestamp: 't', jobId, seq })
const progress = (fields: object, jobId = 'j', sessionId = 's'): object => ({ type: 'ai_progress', sessionId, progress: fields, timestamp: 't', jobId })
const complete = (seq: number, jobId = 'j', sessionId = 's'): object => ({ type: 'ai_complete', sessionId, result: { chunks: 1 }, timestamp: 't', jobId, seq })
const news = (seq: number, sessionId = 's'): object => ({ type: 'news', sessionId, seq })
const subscribed = (fields: object, sessionId = 's'): object => ({ type: 'subscribed', sessionId, timestamp: 't', ...fields })

const seqsOf = (client: Telling): unknown[] => toldOf(client, 'message').filter(({ type }) => type === 'news').map(({ seq }) => seq as unknown)

/** Disconnects and reconnects. Returns the new socket before the server has accepted it. */
function cut (page: FakePage): FakePage['socket'] {
  page.socket.end()
  page.clock.advance(1500)
  return page.socket
}

t.test('sessions besides the one in the query are subscribed to on connect, before queued messages are sent', async (t) => {
  const page = new FakePage()
  const client = clientOn(page, { sessionId: 'a' })
  client.subscribe('b')
  client.send({ type: 'hello' })
  t.same(page.socket.query, { sessionId: 'a' })
  page.socket.admit({ sessionId: 'a', epoch: 'e', seq: 0 })
  t.same(page.socket.sent, [{ type: 'subscribe', sessionId: 'b' }, { type: 'hello' }])
  client.subscribe('c')
  t.match(page.socket.sent[2], { type: 'subscribe', sessionId: 'c' })
})

t.test('the client unsubscribes when the last subscriber leaves, but not if another one follows immediately', async (t) => {
  const page = new FakePage()
  const client = connected(page)
  const first = client.subscribe('a')
  const second = client.subscribe('a')
  page.socket.say(subscribed({ epoch: 'e', seq: 0 }, 'a'))
  first()
  first()
  page.clock.advance(0)
  second()
  const third = client.subscribe('a')
  page.clock.advance(0)
  t.same(page.socket.types, ['subscribe'])
  third()
  page.clock.advance(0)
  t.same(page.socket.sent.at(-1), { type: 'unsubscribe', sessionId: 'a' })
})

t.test('`unsubscribe` removes all subscribers of a session; without an id, of all sessions', async (t) => {
  const page = new FakePage()
  const client = connected(page, { sessionId: 'a' })
  const release = client.subscribe('b')
  t.equal(page.socket.sent.length, 1)
  client.unsubscribe('b')
  release()
  t.same(page.socket.sent.slice(1), [{ type: 'unsubscribe', sessionId: 'b' }])
  client.unsubscribe()
  t.same(page.socket.sent.slice(2), [{ type: 'unsubscribe', sessionId: 'a' }])
  cut(page).admit()
  t.same([page.socket.query.sessionId, page.socket.sent], [undefined, []])
})

t.test('`send` with the protocol\'s messages works like the methods', async (t) => {
  const page = new FakePage()
  const client = connected(page)
  client.send({ type: 'subscribe', sessionId: 'a' })
  page.socket.say(subscribed({ epoch: 'e', seq: 0 }, 'a'))
  client.send({ type: 'subscribe', sessionId: 'a' })
  t.same(page.socket.sent, [{ type: 'subscribe', sessionId: 'a' }, { type: 'subscribe', sessionId: 'a', since: 'e:0' }])
  t.equal(cut(page).query.sessionId, 'a', 'and the subscription lasts')
  page.socket.admit()
  client.send({ type: 'unsubscribe', sessionId: 'a' })
  client.send({ type: 'ping' })
  t.same(page.socket.types, ['unsubscribe', 'ping'])
  const idle = new FakePage()
  clientOn(idle).send({ type: 'subscribe', sessionId: 'a' })
  t.equal(idle.socket.query.sessionId, 'a')
})

t.test('messages of a session that still arrive after unsubscribing are ignored', async (t) => {
  const page = new FakePage()
  const client = connected(page, { sessionId: 's' })
  client.unsubscribe('s')
  page.socket.say(news(1), subscribed({ epoch: 'e', seq: 1 }), news(2, 'never'))
  t.same(toldOf(client, 'message'), [])
})

t.test('unsubscribing while the socket opens sends an `unsubscribe` once it is open', async (t) => {
  const page = new FakePage()
  const client = clientOn(page)
  const release = client.subscribe('a')
  release()
  page.socket.admit({ sessionId: 'a', epoch: 'e', seq: 0 })
  t.same(page.socket.sent, [{ type: 'unsubscribe', sessionId: 'a' }])
})

t.test('a client reconnects with all its positions and receives each missed message once', async (t) => {
  const page = new FakePage()
  const client = connected(page, { sessionId: 'a', userId: 'u' }, { user: { epoch: 'u', seq: 4 } })
  client.subscribe('b')
  page.socket.say(subscribed({ epoch: 'b', seq: 9 }, 'b'), news(1, 'a'), { type: 'note', userSeq: 5 })
  t.same(cut(page).query, { userId: 'u', sessionId: 'a', since: 'e:1', userSince: 'u:5', attempt: '1' })
  page.socket.admit({ sessionId: 'a', ...position, seq: 3, replaying: 2, user: { epoch: 'u', seq: 6, recovered: true } })
  t.match(page.socket.sent, [{ type: 'subscribe', sessionId: 'b', since: 'b:9' }])
  page.socket.say({ type: 'note', userSeq: 6 }, { type: 'note', userSeq: 6 }, news(2, 'a'), news(3, 'a'), news(3, 'a'), news(4, 'a'))
  t.same([seqsOf(client), toldOf(client, 'gap')], [[1, 2, 3, 4], []])
  t.same(toldOf(client, 'message').filter(({ type }) => type === 'note').map(({ userSeq }) => userSeq as number), [5, 6])
})

t.test('a gap is emitted with its reason, before the snapshot', async (t) => {
  for (const reason of ['expired', 'overflow', 'restarted']) {
    const page = new FakePage()
    const client = connected(page, { sessionId: 's' }, { user: { epoch: 'u', seq: 0 } })
    cut(page).admit({ sessionId: 's', epoch: 'f', seq: 7, recovered: false, reason, replaying: 1, user: { epoch: 'v', seq: 1, recovered: false, reason } })
    page.socket.say(complete(7))
    t.same(toldOf(client, 'gap'), [{ sessionId: undefined, reason }, { sessionId: 's', reason }])
    t.equal(client.told.at(-1)?.[1].type, 'ai_complete')
  }
})

t.test('the first reply is not a gap', async (t) => {
  const page = new FakePage()
  const client = clientOn(page, { sessionId: 's' })
  client.connect()
  page.socket.admit({ sessionId: 's', epoch: 'e', seq: 7, recovered: false, reason: 'new', replaying: 0 })
  t.same(toldOf(client, 'gap'), [])
})

t.test('missing sequence numbers are requested, and messages are neither duplicated nor reordered', async (t) => {
  const page = new FakePage()
  const client = connected(page, { sessionId: 's' })
  page.socket.say(news(1), news(3), { type: 'batch_update', sessionId: 's', messages: [] }, news(2), news(4))
  t.same([seqsOf(client), page.socket.sent], [[1], [{ type: 'subscribe', sessionId: 's', since: 'e:1' }]])
  t.equal(toldOf(client, 'message').at(-1)?.type, 'batch_update', 'messages without a number are emitted, because they would not come again')
  page.socket.say(subscribed({ ...position, seq: 4, replaying: 3 }), news(2), news(3), news(4), news(5))
  t.same([seqsOf(client), toldOf(client, 'gap')], [[1, 2, 3, 4, 5], []])
})

t.test('missing messages that can\'t be recovered are a gap', async (t) => {
  const page = new FakePage()
  const client = connected(page, { sessionId: 's' })
  page.socket.say(news(3))
  page.socket.say(subscribed({ ...position, seq: 3, replaying: 1 }), news(3), news(4))
  t.same([seqsOf(client), toldOf(client, 'gap')], [[3, 4], [{ sessionId: 's', reason: 'overflow' }]])
  t.equal(page.socket.sent.length, 1)
})

t.test('missing messages in the user\'s stream cause a reconnect; if it can\'t recover them, a gap', async (t) => {
  const page = new FakePage()
  const client = connected(page, {}, { user: { epoch: 'u', seq: 0 } })
  page.socket.say({ type: 'note', userSeq: 2 })
  t.equal(client.state, 'waiting')
  page.clock.advance(500)
  t.equal(page.socket.query.userSince, 'u:0')
  page.socket.admit({ user: { epoch: 'u', seq: 2, recovered: true, replaying: 2 } })
  page.socket.say({ type: 'note', userSeq: 2 })
  t.same([client.state, toldOf(client, 'gap')], ['connected', [{ sessionId: undefined, reason: 'overflow' }]])
  t.equal(toldOf(client, 'message').at(-1)?.userSeq, 2)
})

t.test('a gap in a text is requested from the known length on, and filled', async (t) => {
  const page = new FakePage()
  const client = connected(page, { sessionId: 's' })
  const text = (): string | undefined => client.jobStore('s').getSnapshot().latest?.text
  page.socket.say(start(1), progress({ delta: 'hel', offset: 0 }), progress({ delta: 'you', offset: 6 }), complete(2))
  t.same(page.socket.sent, [{ type: 'subscribe', sessionId: 's', since: 'e:1', have: { j: 3 } }])
  page.socket.say(subscribed({ ...position, seq: 2, replaying: 2 }), progress({ delta: 'lo you', offset: 3 }), complete(2))
  t.equal(text(), 'hello you')
  t.equal(client.jobStore('s').getSnapshot().latest?.status, 'complete')
})

t.test('a text whose gap can\'t be filled is truncated', async (t) => {
  const page = new FakePage()
  const client = connected(page, { sessionId: 's' })
  page.socket.say(start(1), progress({ delta: 'you', offset: 6 }))
  page.socket.say(subscribed({ ...position, seq: 1 }), progress({ delta: 'you', offset: 6 }))
  t.match(client.jobStore('s').getSnapshot().latest, { text: 'you', truncated: true })
})

t.test('a client reconnects with the known length of a text', async (t) => {
  const page = new FakePage()
  const client = connected(page, { sessionId: 's' })
  page.socket.say(start(1), progress({ delta: 'hello', offset: 0 }))
  t.match(cut(page).query, { since: 'e:1', have: '{"j":5}' })
  page.socket.admit({ sessionId: 's', ...position, seq: 1, replaying: 1 })
  page.socket.say(progress({ delta: ' you', offset: 5 }))
  t.match(client.jobStore('s').getSnapshot().latest, { text: 'hello you', status: 'processing' })
})

t.test('a `have` that is too long for a URL is omitted', async (t) => {
  const page = new FakePage()
  const client = connected(page, { sessionId: 's' })
  for (let i = 0; i < 30; i++) page.socket.say(progress({ delta: 'x', offset: 0 }, `${i}-${'j'.repeat(80)}`))
  t.notOk('have' in cut(page).query)
  t.equal(client.jobStore('s').getSnapshot().jobs.length, 30)
})

// ---- lost jobs

t.test('a running job that a restarted server does not know is lost', async (t) => {
  const page = new FakePage()
  const client = connected(page, { sessionId: 's' })
  page.socket.say(start(1, 'gone'), start(2, 'there'))
  cut(page).admit({ sessionId: 's', epoch: 'f', seq: 1, recovered: false, reason: 'restarted', replaying: 1 })
  page.socket.say(start(1, 'there'))
  const { find } = client.jobStore('s').getSnapshot()
  t.match(find('gone'), { status: 'error', error: { type: 'lost', retryable: aiErrorTypes.lost.retryable } })
  t.match(find('there'), { status: 'processing' })
  t.match(toldOf(client, 'message').filter(({ type }) => type === 'ai_error'), [{ sessionId: 's', jobId: 'gone', error: { type: 'lost' } }])
  t.equal(toldOf(client, 'message').filter(({ type }) => type === 'ai_start').length, 2, 'and a job that still runs is not emitted again')
})

t.test('running jobs are lost if nothing is left of the session', async (t) => {
  const page = new FakePage()
  const client = connected(page, { sessionId: 's' })
  page.socket.say(start(1))
  cut(page).admit({ sessionId: 's', epoch: 'f', seq: 0, recovered: false, reason: 'restarted', replaying: 0 })
  t.match(client.jobStore('s').getSnapshot().latest, { status: 'error', error: { type: 'lost' } })
})

t.test('after an expired history in the same epoch, jobs in the snapshot continue even if their start was earlier', async (t) => {
  const page = new FakePage()
  const client = connected(page, { sessionId: 's' })
  page.socket.say(start(1, 'a'), start(2, 'b'))
  cut(page).admit({ sessionId: 's', epoch: 'e', seq: 50, recovered: false, reason: 'expired', replaying: 1 })
  page.socket.say(start(1, 'a'))
  const { find } = client.jobStore('s').getSnapshot()
  t.match([find('a')?.status, find('b')?.error?.type], ['processing', 'lost'])
})

t.test('when the attempts are used up, running jobs are lost, until the server says otherwise', async (t) => {
  const page = new FakePage()
  const client = connected(page, { sessionId: 's', maxReconnectAttempts: 0 })
  const status = (): string | undefined => client.jobStore('s').getSnapshot().latest?.status
  page.socket.say(start(1))
  page.socket.end()
  t.match(client.jobStore('s').getSnapshot().latest, { status: 'error', error: { type: 'lost' } })
  page.wake('online')
  t.equal(page.socket.query.since, 'e:1')
  page.socket.admit({ sessionId: 's', ...position, seq: 1 })
  t.equal(status(), 'processing', 'it continues, because nothing was missed')

  page.socket.end()
  page.wake('online')
  page.socket.admit({ sessionId: 's', epoch: 'e', seq: 9, recovered: false, reason: 'expired', replaying: 1 })
  t.equal(status(), 'error')
  page.socket.say(start(1))
  t.equal(status(), 'processing', 'it continues, because the snapshot contains it')

  page.socket.end()
  page.wake('visible')
  page.socket.admit({ sessionId: 's', ...position, seq: 10, replaying: 1 })
  page.socket.say(complete(10))
  t.equal(status(), 'complete')
})

t.test('a refused client has no running jobs; a closed one keeps its state', async (t) => {
  for (const [end, expected] of [['refused', 'error'], ['called', 'processing']] as const) {
    const page = new FakePage()
    const client = connected(page, { sessionId: 's' })
    page.socket.say(start(1))
    if (end === 'called') client.close()
    else page.socket.end(4502, 'Access revoked')
    t.same([client.reason, client.jobStore('s').getSnapshot().latest?.status], [end, expected])
  }
})

t.test('stale progress from after a job\'s end or from before a restart is not shown', async (t) => {
  const page = new FakePage()
  const client = connected(page, { sessionId: 's' })
  page.socket.say(start(1), complete(2), progress({ chunksReceived: 5 }))
  t.match(client.jobStore('s').getSnapshot().latest, { status: 'complete', progress: undefined })
  t.notOk(toldOf(client, 'message').some(({ type }) => type === 'ai_progress'))
})

// ---- refusals

t.test('a refused session is reported, tried again on the next connection, and shows no running jobs', async (t) => {
  const page = new FakePage()
  const client = connected(page, { sessionId: 's' })
  page.socket.say(start(1))
  cut(page).admit()
  page.socket.say({ type: 'error', code: 'forbidden', message: 'no', timestamp: 't', request: 'subscribe', sessionId: 's' })
  t.match(toldOf(client, 'error'), [{ name: 'ClientError', code: 'forbidden', sessionId: 's', message: 'no' }])
  t.match(client.jobStore('s').getSnapshot().latest, { status: 'error', error: { type: 'lost' } })
  client.subscribe('s')
  t.same(page.socket.types, ['subscribe'], 'a new subscriber causes a new request')
  t.equal(cut(page).query.sessionId, 's')
})

t.test('revoked access ends the session\'s jobs', async (t) => {
  const page = new FakePage()
  const client = connected(page, { sessionId: 's' })
  page.socket.say(start(1), { type: 'unsubscribed', timestamp: 't', sessionId: 's', reason: 'revoked' })
  t.match(client.jobStore('s').getSnapshot().latest, { error: { type: 'lost' } })
  page.socket.say({ type: 'unsubscribed', timestamp: 't', sessionId: 'other', reason: 'revoked' }, { type: 'unsubscribed', timestamp: 't' })
  t.equal(toldOf(client, 'message').filter(({ type }) => type === 'unsubscribed').length, 3)
})

t.test('a subscribe that the server can\'t decide is retried with increasing delays', async (t) => {
  const page = new FakePage()
  const client = connected(page)
  client.subscribe('s')
  const unavailable = { type: 'error', code: 'unavailable', message: 'later', timestamp: 't', request: 'subscribe', sessionId: 's' }
  page.socket.say(unavailable)
  page.clock.advance(1499)
  t.equal(page.socket.sent.length, 1)
  page.clock.advance(1)
  t.equal(page.socket.sent.length, 2)
  page.socket.say(unavailable)
  page.clock.advance(3000)
  t.equal(page.socket.sent.length, 3)
  page.socket.say(unavailable)
  client.unsubscribe('s')
  page.clock.advance(30_000)
  t.same(page.socket.types.slice(3), ['ping'], 'no unsubscribe, because the server has no subscription')
})

t.test('an error about a cancel or an unrelated session does not end a subscription', async (t) => {
  const page = new FakePage()
  const client = connected(page, { sessionId: 's' })
  page.socket.say(start(1))
  const error = { type: 'error', code: 'not_cancellable', message: 'no', timestamp: 't', sessionId: 's' }
  page.socket.say({ ...error, jobId: 'j' }, error, { ...error, sessionId: undefined })
  t.equal(client.jobStore('s').getSnapshot().latest?.status, 'processing')
  t.same(toldOf(client, 'error').map(({ jobId }) => jobId as unknown), ['j', undefined, undefined])
})

t.test('a refused cancel is not mistaken for a refused subscribe, even while one is in flight', async (t) => {
  const page = new FakePage()
  const client = connected(page)
  client.subscribe('s')
  client.cancel('s')
  const error = { type: 'error', code: 'forbidden', message: 'no', timestamp: 't', sessionId: 's' }
  page.socket.say({ ...error, request: 'cancel' })
  page.socket.say({ type: 'subscribed', sessionId: 's', timestamp: 't' }, start(1))
  t.equal(client.jobStore('s').getSnapshot().latest?.status, 'processing', 'it is still subscribed')
  client.subscribe('s')
  page.socket.say({ ...error, request: 'subscribe' })
  t.equal(client.jobStore('s').getSnapshot().latest?.status, 'processing', 'without a subscribe in flight nothing is refused')
})

// ---- sending

t.test('a cancel contains the id of the job that runs at the time of the call, even if it is sent later', async (t) => {
  const page = new FakePage()
  const client = connected(page, { sessionId: 's' })
  client.cancel('s')
  page.socket.say(start(1, 'a'), start(2, 'b'))
  client.cancel('s')
  client.cancel('s', 'a')
  client.cancel('unknown')
  t.same(page.socket.sent, [
    { type: 'cancel', sessionId: 's' }, { type: 'cancel', sessionId: 's', jobId: 'b' },
    { type: 'cancel', sessionId: 's', jobId: 'a' }, { type: 'cancel', sessionId: 'unknown' }
  ])
  page.socket.say({ type: 'cancelling', sessionId: 's', jobId: 'b', timestamp: 't' })
  t.equal(client.told.at(-1)?.[1].type, 'cancelling')
})

t.test('messages are queued without a connection, up to a limit', async (t) => {
  const page = new FakePage()
  const client = clientOn(page, { maxQueuedMessages: 2 })
  client.send({ type: 'one' })
  client.send({ type: 'ping' })
  t.throws(() => { client.send({ type: 'three' }) }, { name: 'ClientError', code: 'queue_full', message: /maxQueuedMessages/ })
  page.socket.end()
  page.clock.advance(1500)
  page.socket.admit()
  t.same(page.socket.types, ['one', 'ping'])
})

t.test('messages that can\'t be sent any more are reported', async (t) => {
  const page = new FakePage()
  const client = clientOn(page)
  client.send({ type: 'one' })
  client.close()
  t.match(toldOf(client, 'error'), [{ code: 'not_sent', message: /^1 / }])
})

// ---- listeners

t.test('listeners are called by type, in order, until they are removed; one that throws does not affect the others', async (t) => {
  const page = new FakePage()
  const heard: string[] = []
  const client = connected(page, {
    onMessage: ({ type }) => { heard.push(`option ${type}`) }, onError: undefined, onOpen: () => { heard.push('open') }
  })
  client.on('news', () => { throw new Error('of the app') })
  const listener = (): void => { heard.push('news') }
  const stop = client.on('news', listener)
  client.on('news', listener)
  page.socket.say({ type: 'news' })
  stop()
  page.socket.say({ type: 'news' })
  t.same(heard, ['option connection', 'open', 'news', 'news', 'option news', 'news', 'option news'])
  t.match(page.reported, [{ message: 'of the app' }, { message: 'of the app' }])
})

t.test('an app\'s message with the name of an event is emitted only as `message`', async (t) => {
  const page = new FakePage()
  const client = connected(page)
  page.socket.say({ type: 'open' }, { type: 'gap' })
  t.same(client.told.map(([type]) => type), ['message', 'message'])
})

t.test('text that is not a message is ignored', async (t) => {
  const page = new FakePage()
  const client = connected(page)
  page.socket.say('{', 'null', '7', '{"type":1}')
  ;(page.socket.onmessage as (event: object) => void)({ data: new ArrayBuffer(1) })
  t.same([client.told, client.metrics.messagesReceived], [[], 1])
})

// ---- the store

t.test('the store reports starts and ends immediately, and progress at most once per frame', async (t) => {
  const page = new FakePage()
  const client = connected(page, { sessionId: 's' })
  const store = client.jobStore('s')
  let told = 0
  const stop = store.subscribe(() => { told++ })
  t.equal(told, 1, 'the current state is reported immediately')
  page.clock.advance(100)
  page.socket.say(start(1))
  t.equal(told, 2)
  for (let i = 1; i <= 1000; i++) {
    page.socket.say(progress({ chunksReceived: i }))
    page.clock.advance(1)
  }
  t.ok(told > 50 && told <= 61, `${told} times`)
  page.socket.say(progress({ chunksReceived: 1001 }), complete(2))
  t.match(store.getSnapshot().latest, { status: 'complete', progress: { chunksReceived: 1001 } })
  const last = told
  page.clock.advance(100)
  t.equal(told, last, 'and nothing after unsubscribing')
  stop()
  page.socket.say(start(3, 'k'))
  t.equal(told, last)
  t.same([store.getServerSnapshot(), store.getServerSnapshot().jobs.length], [store.getServerSnapshot(), 0])
})

t.test('a store is subscribed to its session while it has listeners; without any, nothing is kept', async (t) => {
  const page = new FakePage()
  const client = connected(page)
  const store = client.jobStore('s')
  const seen: unknown[] = []
  const stop = store.subscribe(({ latest }) => { seen.push(latest?.jobId) })
  t.same(page.socket.sent, [{ type: 'subscribe', sessionId: 's' }])
  page.socket.say(subscribed({ epoch: 'e', seq: 0 }), start(1))
  t.equal(store.getSnapshot().latest?.jobId, 'j')
  t.same([seen[0], seen.at(-1)], [undefined, 'j'])
  client.subscribe('s')()
  t.equal(page.socket.sent.length, 1, 'while it has a listener')
  stop()
  t.same(page.socket.sent.at(-1), { type: 'unsubscribe', sessionId: 's' })
  page.socket.say({ type: 'unsubscribed', sessionId: 's', timestamp: 't' })
  page.clock.advance(0)
  t.equal(store.getSnapshot(), store.getServerSnapshot())
})

t.test('the first listener of a store connects the client', async (t) => {
  const page = new FakePage()
  const client = clientOn(page)
  const stop = client.jobStore('s').subscribe(() => { /* A listener that does nothing. */ })
  t.equal(page.socket.query.sessionId, 's')
  stop()
})
