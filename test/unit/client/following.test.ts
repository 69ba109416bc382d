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

/** Cuts the connection and comes back; answers the new socket before it is admitted. */
function cut (page: FakePage): FakePage['socket'] {
  page.socket.end()
  page.clock.advance(1500)
  return page.socket
}

t.test('sessions beside that of the query are subscribed to when it is connected, before what waited', async (t) => {
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

t.test('a session is left when the last of those who follow it does, and not for a moment between two', async (t) => {
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

t.test('`unsubscribe` leaves a session whoever follows it; without an id all', async (t) => {
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

t.test('the protocol\'s own messages do the same as the methods', async (t) => {
  const page = new FakePage()
  const client = connected(page)
  client.send({ type: 'subscribe', sessionId: 'a' })
  page.socket.say(subscribed({ epoch: 'e', seq: 0 }, 'a'))
  client.send({ type: 'subscribe', sessionId: 'a' })
  t.same(page.socket.sent, [{ type: 'subscribe', sessionId: 'a' }, { type: 'subscribe', sessionId: 'a', since: 'e:0' }])
  t.equal(cut(page).query.sessionId, 'a', 'and it lasts')
  page.socket.admit()
  client.send({ type: 'unsubscribe', sessionId: 'a' })
  client.send({ type: 'ping' })
  t.same(page.socket.types, ['unsubscribe', 'ping'])
  const idle = new FakePage()
  clientOn(idle).send({ type: 'subscribe', sessionId: 'a' })
  t.equal(idle.socket.query.sessionId, 'a')
})

t.test('what was left says nothing any more, whatever is still on its way', async (t) => {
  const page = new FakePage()
  const client = connected(page, { sessionId: 's' })
  client.unsubscribe('s')
  page.socket.say(news(1), subscribed({ epoch: 'e', seq: 1 }), news(2, 'never'))
  t.same(toldOf(client, 'message'), [])
})

t.test('a session that was left while the socket opened is left when it has', async (t) => {
  const page = new FakePage()
  const client = clientOn(page)
  const release = client.subscribe('a')
  release()
  page.socket.admit({ sessionId: 'a', epoch: 'e', seq: 0 })
  t.same(page.socket.sent, [{ type: 'unsubscribe', sessionId: 'a' }])
})

t.test('it comes back with every position, and gets what it missed, each once', async (t) => {
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

t.test('a gap is told with its reason, before the present state', async (t) => {
  for (const reason of ['expired', 'overflow', 'restarted']) {
    const page = new FakePage()
    const client = connected(page, { sessionId: 's' }, { user: { epoch: 'u', seq: 0 } })
    cut(page).admit({ sessionId: 's', epoch: 'f', seq: 7, recovered: false, reason, replaying: 1, user: { epoch: 'v', seq: 1, recovered: false, reason } })
    page.socket.say(complete(7))
    t.same(toldOf(client, 'gap'), [{ sessionId: undefined, reason }, { sessionId: 's', reason }])
    t.equal(client.told.at(-1)?.[1].type, 'ai_complete')
  }
})

t.test('a first answer is no gap', async (t) => {
  const page = new FakePage()
  const client = clientOn(page, { sessionId: 's' })
  client.connect()
  page.socket.admit({ sessionId: 's', epoch: 'e', seq: 7, recovered: false, reason: 'new', replaying: 0 })
  t.same(toldOf(client, 'gap'), [])
})

t.test('a hole in the numbers is asked for, and nothing comes twice or out of order', async (t) => {
  const page = new FakePage()
  const client = connected(page, { sessionId: 's' })
  page.socket.say(news(1), news(3), { type: 'batch_update', sessionId: 's', messages: [] }, news(2), news(4))
  t.same([seqsOf(client), page.socket.sent], [[1], [{ type: 'subscribe', sessionId: 's', since: 'e:1' }]])
  t.equal(toldOf(client, 'message').at(-1)?.type, 'batch_update', 'what has no number would not come again')
  page.socket.say(subscribed({ ...position, seq: 4, replaying: 3 }), news(2), news(3), news(4), news(5))
  t.same([seqsOf(client), toldOf(client, 'gap')], [[1, 2, 3, 4, 5], []])
})

t.test('a hole that stays is a gap', async (t) => {
  const page = new FakePage()
  const client = connected(page, { sessionId: 's' })
  page.socket.say(news(3))
  page.socket.say(subscribed({ ...position, seq: 3, replaying: 1 }), news(3), news(4))
  t.same([seqsOf(client), toldOf(client, 'gap')], [[3, 4], [{ sessionId: 's', reason: 'overflow' }]])
  t.equal(page.socket.sent.length, 1)
})

t.test('a hole in the user\'s stream is filled by coming back; one that stays is a gap', async (t) => {
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

t.test('text with a gap is asked for with what is there, and made whole', async (t) => {
  const page = new FakePage()
  const client = connected(page, { sessionId: 's' })
  const text = (): string | undefined => client.jobStore('s').getSnapshot().latest?.text
  page.socket.say(start(1), progress({ delta: 'hel', offset: 0 }), progress({ delta: 'you', offset: 6 }), complete(2))
  t.same(page.socket.sent, [{ type: 'subscribe', sessionId: 's', since: 'e:1', have: { j: 3 } }])
  page.socket.say(subscribed({ ...position, seq: 2, replaying: 2 }), progress({ delta: 'lo you', offset: 3 }), complete(2))
  t.equal(text(), 'hello you')
  t.equal(client.jobStore('s').getSnapshot().latest?.status, 'complete')
})

t.test('text whose gap stays is truncated', async (t) => {
  const page = new FakePage()
  const client = connected(page, { sessionId: 's' })
  page.socket.say(start(1), progress({ delta: 'you', offset: 6 }))
  page.socket.say(subscribed({ ...position, seq: 1 }), progress({ delta: 'you', offset: 6 }))
  t.match(client.jobStore('s').getSnapshot().latest, { text: 'you', truncated: true })
})

t.test('it comes back with what it has of a text', async (t) => {
  const page = new FakePage()
  const client = connected(page, { sessionId: 's' })
  page.socket.say(start(1), progress({ delta: 'hello', offset: 0 }))
  t.match(cut(page).query, { since: 'e:1', have: '{"j":5}' })
  page.socket.admit({ sessionId: 's', ...position, seq: 1, replaying: 1 })
  page.socket.say(progress({ delta: ' you', offset: 5 }))
  t.match(client.jobStore('s').getSnapshot().latest, { text: 'hello you', status: 'processing' })
})

t.test('too much to say in a URL is left out of it', async (t) => {
  const page = new FakePage()
  const client = connected(page, { sessionId: 's' })
  for (let i = 0; i < 30; i++) page.socket.say(progress({ delta: 'x', offset: 0 }, `${i}-${'j'.repeat(80)}`))
  t.notOk('have' in cut(page).query)
  t.equal(client.jobStore('s').getSnapshot().jobs.length, 30)
})

// ---- no spinner spins for ever

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
  t.equal(toldOf(client, 'message').filter(({ type }) => type === 'ai_start').length, 2, 'and what runs on is not told again')
})

t.test('so when nothing is left of the session', async (t) => {
  const page = new FakePage()
  const client = connected(page, { sessionId: 's' })
  page.socket.say(start(1))
  cut(page).admit({ sessionId: 's', epoch: 'f', seq: 0, recovered: false, reason: 'restarted', replaying: 0 })
  t.match(client.jobStore('s').getSnapshot().latest, { status: 'error', error: { type: 'lost' } })
})

t.test('an expired history in the same life: what the present state names runs on, though its start came before', async (t) => {
  const page = new FakePage()
  const client = connected(page, { sessionId: 's' })
  page.socket.say(start(1, 'a'), start(2, 'b'))
  cut(page).admit({ sessionId: 's', epoch: 'e', seq: 50, recovered: false, reason: 'expired', replaying: 1 })
  page.socket.say(start(1, 'a'))
  const { find } = client.jobStore('s').getSnapshot()
  t.match([find('a')?.status, find('b')?.error?.type], ['processing', 'lost'])
})

t.test('when the attempts are used up the running jobs are lost, and what comes back overrules that', async (t) => {
  const page = new FakePage()
  const client = connected(page, { sessionId: 's', maxReconnectAttempts: 0 })
  const status = (): string | undefined => client.jobStore('s').getSnapshot().latest?.status
  page.socket.say(start(1))
  page.socket.end()
  t.match(client.jobStore('s').getSnapshot().latest, { status: 'error', error: { type: 'lost' } })
  page.wake('online')
  t.equal(page.socket.query.since, 'e:1')
  page.socket.admit({ sessionId: 's', ...position, seq: 1 })
  t.equal(status(), 'processing', 'nothing was missed: it runs on')

  page.socket.end()
  page.wake('online')
  page.socket.admit({ sessionId: 's', epoch: 'e', seq: 9, recovered: false, reason: 'expired', replaying: 1 })
  t.equal(status(), 'error')
  page.socket.say(start(1))
  t.equal(status(), 'processing', 'the present state names it')

  page.socket.end()
  page.wake('visible')
  page.socket.admit({ sessionId: 's', ...position, seq: 10, replaying: 1 })
  page.socket.say(complete(10))
  t.equal(status(), 'complete')
})

t.test('a refused client has no running jobs; one that was closed keeps what it showed', async (t) => {
  for (const [end, expected] of [['refused', 'error'], ['called', 'processing']] as const) {
    const page = new FakePage()
    const client = connected(page, { sessionId: 's' })
    page.socket.say(start(1))
    if (end === 'called') client.close()
    else page.socket.end(4502, 'Access revoked')
    t.same([client.reason, client.jobStore('s').getSnapshot().latest?.status], [end, expected])
  }
})

t.test('stale progress is not shown: what a job said after its end, or before a restart', async (t) => {
  const page = new FakePage()
  const client = connected(page, { sessionId: 's' })
  page.socket.say(start(1), complete(2), progress({ chunksReceived: 5 }))
  t.match(client.jobStore('s').getSnapshot().latest, { status: 'complete', progress: undefined })
  t.notOk(toldOf(client, 'message').some(({ type }) => type === 'ai_progress'))
})

// ---- a no

t.test('a session that may not be followed is told, is tried again on the next connection, and nothing spins', async (t) => {
  const page = new FakePage()
  const client = connected(page, { sessionId: 's' })
  page.socket.say(start(1))
  cut(page).admit()
  page.socket.say({ type: 'error', code: 'forbidden', message: 'no', timestamp: 't', request: 'subscribe', sessionId: 's' })
  t.match(toldOf(client, 'error'), [{ name: 'ClientError', code: 'forbidden', sessionId: 's', message: 'no' }])
  t.match(client.jobStore('s').getSnapshot().latest, { status: 'error', error: { type: 'lost' } })
  client.subscribe('s')
  t.same(page.socket.types, ['subscribe'], 'who asks anew is heard')
  t.equal(cut(page).query.sessionId, 's')
})

t.test('a right that is taken back ends the session\'s jobs', async (t) => {
  const page = new FakePage()
  const client = connected(page, { sessionId: 's' })
  page.socket.say(start(1), { type: 'unsubscribed', timestamp: 't', sessionId: 's', reason: 'revoked' })
  t.match(client.jobStore('s').getSnapshot().latest, { error: { type: 'lost' } })
  page.socket.say({ type: 'unsubscribed', timestamp: 't', sessionId: 'other', reason: 'revoked' }, { type: 'unsubscribed', timestamp: 't' })
  t.equal(toldOf(client, 'message').filter(({ type }) => type === 'unsubscribed').length, 3)
})

t.test('what could not be decided is asked again, later and later', async (t) => {
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
  t.same(page.socket.types.slice(3), ['ping'], 'the server does not hold it')
})

t.test('an answer to a cancel, or about a session that was not asked for, takes nothing away', async (t) => {
  const page = new FakePage()
  const client = connected(page, { sessionId: 's' })
  page.socket.say(start(1))
  const error = { type: 'error', code: 'not_cancellable', message: 'no', timestamp: 't', sessionId: 's' }
  page.socket.say({ ...error, jobId: 'j' }, error, { ...error, sessionId: undefined })
  t.equal(client.jobStore('s').getSnapshot().latest?.status, 'processing')
  t.same(toldOf(client, 'error').map(({ jobId }) => jobId as unknown), ['j', undefined, undefined])
})

t.test('a refused cancel is told apart from a refused subscribe, also while that is not answered yet', async (t) => {
  const page = new FakePage()
  const client = connected(page)
  client.subscribe('s')
  client.cancel('s')
  const error = { type: 'error', code: 'forbidden', message: 'no', timestamp: 't', sessionId: 's' }
  page.socket.say({ ...error, request: 'cancel' })
  page.socket.say({ type: 'subscribed', sessionId: 's', timestamp: 't' }, start(1))
  t.equal(client.jobStore('s').getSnapshot().latest?.status, 'processing', 'it is followed all the same')
  client.subscribe('s')
  page.socket.say({ ...error, request: 'subscribe' })
  t.equal(client.jobStore('s').getSnapshot().latest?.status, 'processing', 'as long as nothing is asked, nothing is refused')
})

// ---- sending

t.test('a cancel names the job that runs now, also when it is sent later', async (t) => {
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

t.test('what is sent waits for a connection, up to a bound', async (t) => {
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

t.test('what waited for a connection that will not come is told', async (t) => {
  const page = new FakePage()
  const client = clientOn(page)
  client.send({ type: 'one' })
  client.close()
  t.match(toldOf(client, 'error'), [{ code: 'not_sent', message: /^1 / }])
})

// ---- listening

t.test('listeners are told by type, in order, until they stop; one that throws stops nothing', async (t) => {
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

t.test('an app\'s message that has the name of an event is a message', async (t) => {
  const page = new FakePage()
  const client = connected(page)
  page.socket.say({ type: 'open' }, { type: 'gap' })
  t.same(client.told.map(([type]) => type), ['message', 'message'])
})

t.test('what is no message is ignored', async (t) => {
  const page = new FakePage()
  const client = connected(page)
  page.socket.say('{', 'null', '7', '{"type":1}')
  ;(page.socket.onmessage as (event: object) => void)({ data: new ArrayBuffer(1) })
  t.same([client.told, client.metrics.messagesReceived], [[], 1])
})

// ---- the store

t.test('the store tells of starts and ends at once, and of progress at most once a frame', async (t) => {
  const page = new FakePage()
  const client = connected(page, { sessionId: 's' })
  const store = client.jobStore('s')
  let told = 0
  const stop = store.subscribe(() => { told++ })
  t.equal(told, 1, 'what there is now comes at once')
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
  t.equal(told, last, 'and nothing after the end')
  stop()
  page.socket.say(start(3, 'k'))
  t.equal(told, last)
  t.same([store.getServerSnapshot(), store.getServerSnapshot().jobs.length], [store.getServerSnapshot(), 0])
})

t.test('a store follows its session while it is observed, and of what nobody follows nothing is kept', async (t) => {
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
  t.equal(page.socket.sent.length, 1, 'as long as it is observed')
  stop()
  t.same(page.socket.sent.at(-1), { type: 'unsubscribe', sessionId: 's' })
  page.socket.say({ type: 'unsubscribed', sessionId: 's', timestamp: 't' })
  page.clock.advance(0)
  t.equal(store.getSnapshot(), store.getServerSnapshot())
})

t.test('a store that is observed first connects the client', async (t) => {
  const page = new FakePage()
  const client = clientOn(page)
  const stop = client.jobStore('s').subscribe(() => { /* Only to be there. */ })
  t.equal(page.socket.query.sessionId, 's')
  stop()
})
