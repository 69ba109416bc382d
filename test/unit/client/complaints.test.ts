import t from 'tap'
import { clientOn, connected, FakePage, settled, toldOf } from '../../support/fake-page.js'

// Common complaints about other clients, one test each. Those about rendering are among the tests of the hooks.

const start = (seq: number, jobId = 'j'): object => ({ type: 'ai_start', sessionId: 's', task: {}, timestamp: 't', jobId, seq })
const complete = (seq: number): object => ({ type: 'ai_complete', sessionId: 's', result: {}, timestamp: 't', jobId: 'j', seq })

t.test('parallel sockets after a fast reconnect: there is only one, however often events trigger it', async (t) => {
  const page = new FakePage()
  const client = connected(page)
  page.socket.end()
  client.connect()
  page.wake('online')
  page.wake('visible')
  client.connect()
  page.clock.advance(5000)
  t.equal(page.sockets.filter(({ closedWith }, at) => at > 0 && closedWith === undefined).length, 1)
  page.socket.admit()
  page.clock.advance(25_000)
  t.equal(client.state, 'connected')
})

t.test('separate heartbeats: one ping is sent, however many subscribers there are', async (t) => {
  const page = new FakePage()
  const client = connected(page)
  for (const id of ['a', 'b', 'c']) client.subscribe(id)
  page.clock.advance(30_000)
  t.equal(page.socket.types.filter((type) => type === 'ping').length, 1)
})

t.test('a stale token on reconnect: `getToken` is called before every attempt', async (t) => {
  const page = new FakePage()
  let asked = 0
  clientOn(page, { getToken: () => `token ${++asked}` }).connect()
  await settled()
  page.socket.admit()
  page.socket.end(4002, 'Token expired')
  page.clock.advance(1000)
  await settled()
  t.same(page.sockets.map(({ protocols }) => Buffer.from(protocols[1]!.slice(16), 'base64url').toString()), ['token 1', 'token 2'])
})

t.test('backoff without jitter: a thousand clients that fail together spread their reconnects', async (t) => {
  const times: number[] = []
  for (let i = 0; i < 1000; i++) {
    const page = new FakePage()
    page.randoms = [i / 1000]
    const client = connected(page)
    page.socket.end()
    while (client.state === 'waiting') page.clock.advance(100)
    times.push(page.clock.monotonic())
  }
  const slots = new Set(times.map((ms) => Math.floor(ms / 300)))
  t.ok(slots.size >= 10, `${slots.size} of 10 slots`)
})

t.test('attempts used up while offline: they don\'t count, and the client reconnects immediately when online', async (t) => {
  const page = new FakePage()
  const client = connected(page, { maxReconnectAttempts: 2 })
  page.online = false
  page.socket.end()
  t.same([client.state, client.reason], ['waiting', 'offline'])
  for (let hour = 0; hour < 3; hour++) {
    page.clock.advance(3_600_000)
    if (client.state === 'connecting') page.socket.end()
    t.equal(client.state === 'closed', false)
  }
  page.wake('online')
  t.equal(client.state, 'connecting')
  page.socket.admit()
  t.equal(client.state, 'connected')
})

t.test('reconnecting after an explicit close: never', async (t) => {
  const page = new FakePage()
  const client = connected(page, { sessionId: 's' })
  client.close()
  page.wake('online')
  page.wake('visible')
  client.subscribe('other')
  page.clock.advance(3_600_000)
  t.equal(page.sockets.length, 1)
})

t.test('stale progress after a reconnect: neither another job\'s nor an ended one\'s is shown', async (t) => {
  const page = new FakePage()
  const client = connected(page, { sessionId: 's' })
  page.socket.say(start(1), { type: 'ai_progress', sessionId: 's', progress: { chunksReceived: 90 }, timestamp: 't', jobId: 'j' })
  page.socket.end()
  page.clock.advance(1500)
  page.socket.admit({ sessionId: 's', epoch: 'e', seq: 3, recovered: true, replaying: 2 })
  page.socket.say(complete(2), start(3, 'k'))
  t.match(client.jobStore('s').getSnapshot().latest, { jobId: 'k', status: 'processing', progress: undefined })
})

t.test('a lost end that leaves the UI hanging: an end during a disconnect is delivered once', async (t) => {
  const page = new FakePage()
  const client = connected(page, { sessionId: 's' })
  page.socket.say(start(1))
  page.socket.end()
  page.clock.advance(1500)
  page.socket.admit({ sessionId: 's', epoch: 'e', seq: 2, recovered: true, replaying: 1 })
  page.socket.say(complete(2), complete(2))
  t.equal(client.jobStore('s').getSnapshot().latest?.status, 'complete')
  t.equal(toldOf(client, 'message').filter(({ type }) => type === 'ai_complete').length, 1)
})
