import t from 'tap'
import { WebSocket } from 'ws'
import { createClient, type Client } from 'ai-canvas-ws/client'
import { systemClock } from '../../lib/util/clock.js'
import { startApp } from '../support/app.js'
import { LosingBroker } from '../support/losing-broker.js'
import { createFarServer } from '../support/server.js'
import { connect, type Message } from '../support/ws-client.js'

// The broker loses its messages while clients are connected. Their positions are then ahead of the stream.

const next = (client: Client, type: string): Promise<Message> => new Promise((resolve) => {
  const stop = client.on(type as 'message', (event) => { stop(); resolve(event) })
})

t.test('no spinner hangs when the store comes back empty', async (t) => {
  const broker = new LosingBroker(systemClock)
  const { app: { wsManager }, url } = await startApp(t, { broker })
  const client = createClient({ url: url(), WebSocket, sessionId: 's' })
  t.teardown(() => { client.close() })
  client.connect()
  await next(client, 'open')
  const seen: unknown[] = []
  for (const type of ['gap', 'ai_complete', 'ai_error'] as const) {
    client.on(type, (event) => { seen.push([type, 'reason' in event ? event : event.jobId]) })
  }
  const job = (jobId: string): unknown => client.jobStore('s').getSnapshot().find(jobId)
  for (let n = 0; n < 5; n++) await wsManager.notifyAIComplete('s', { n }, { jobId: `done ${n}` })
  await wsManager.notifyAIStart('s', { prompt: 'x' }, { jobId: 'running' })
  await wsManager.notifyAIStart('s', { prompt: 'y' }, { jobId: 'told again' })
  await next(client, 'ai_start')

  const gap = next(client, 'gap')
  broker.lose()
  t.match(await gap, { sessionId: 's', reason: 'restarted' })
  t.match(job('running'), { status: 'error', error: { type: 'lost' } }, 'the server no longer knows it')
  await wsManager.notifyAIProgress('s', { chunksReceived: 3 }, { jobId: 'told again' })
  await wsManager.notifyAIComplete('s', { chunks: 7 }, { jobId: 'running' })
  await next(client, 'ai_complete')
  t.match(job('running'), { status: 'complete', result: { chunks: 7 } }, 'its end arrives, although its number is lower than the client\'s')
  t.match(job('told again'), { status: 'processing', progress: { chunksReceived: 3 } })
  t.match(job('done 4'), { status: 'complete' }, 'what had ended stays so')
  await wsManager.notifyAIComplete('s', {}, { jobId: 'told again' })
  await next(client, 'ai_complete')
  t.same(seen.slice(5), [
    ['gap', { sessionId: 's', reason: 'restarted' }], ['ai_error', 'running'], ['ai_error', 'told again'], ['ai_complete', 'running'], ['ai_complete', 'told again']
  ])

  const again = createClient({ url: url(), WebSocket, sessionId: 's' })
  t.teardown(() => { again.close() })
  again.connect()
  await next(again, 'ai_complete')
  t.match(again.jobStore('s').getSnapshot().latest, { jobId: 'told again', status: 'complete' })
})

t.test('the messages of a user continue, too', async (t) => {
  const broker = new LosingBroker(systemClock)
  const { app: { wsManager }, url } = await startApp(t, { broker })
  const plain = await connect(t, url('?userId=u&sessionId=s'))
  const client = createClient({ url: url(), WebSocket, userId: 'u' })
  t.teardown(() => { client.close() })
  client.connect()
  await next(client, 'open')
  for (let n = 0; n < 3; n++) await wsManager.broadcastToUser('u', { type: 'note', n })
  while ((await plain.nextOf('note')).n !== 2);

  const gap = next(client, 'gap')
  broker.lose()
  const told = [await plain.next(), await plain.next()]
  const [one, two] = [told.find(({ sessionId }) => sessionId === 's'), told.find(({ user }) => user !== undefined)]
  t.match(one, { type: 'subscribed', sessionId: 's', seq: 0, recovered: false, replaying: 0, reason: 'restarted' })
  t.match(two, { type: 'subscribed', user: { seq: 0, recovered: false, replaying: 0, reason: 'restarted' } })
  t.same(Object.keys(two!).sort(), ['timestamp', 'type', 'user'])
  t.same(await gap, { sessionId: undefined, reason: 'restarted' })
  const note = next(client, 'note')
  await wsManager.broadcastToUser('u', { type: 'note', n: 'first of the new epoch' })
  t.match(await note, { n: 'first of the new epoch', userSeq: 1 })
  t.match(await plain.nextOf('note'), { userSeq: 1 })
})

t.test('a request that is pending when history is lost gets its answer', async (t) => {
  const server = createFarServer()
  const peer = await server.connect()
  peer.send({ type: 'subscribe', sessionId: 's' })
  server.node.restarted('session:s')
  server.broker.answer()
  await Promise.resolve()
  for (let round = 0; round < 5; round++) {
    server.broker.answer()
    await new Promise((resolve) => { setImmediate(resolve) })
  }
  t.match(peer.take(), [{ type: 'subscribed', sessionId: 's', reason: 'new' }])
})

t.test('subscribers that can\'t be joined again are disconnected, and come back later', async (t) => {
  const server = createFarServer()
  const [subscribed, other] = [await server.connect({ sessionId: 's' }), await server.connect({ sessionId: 'other' })]
  server.node.restarted('session:s')
  server.broker.fail('join session:s')
  await new Promise((resolve) => { setImmediate(resolve) })
  server.clock.tick()
  t.same(subscribed.transport.closedWith, { code: 1013, reason: 'Try again later' })
  t.equal(other.transport.closedWith, undefined)
  t.match(server.logged.join('\n'), /warn: the broker has lost history[^]*error: the broker could not join streams again/)
})

t.test('a store that is lost with all its streams takes one log entry, and so does the failure to join them', async (t) => {
  const server = createFarServer()
  const peers = await Promise.all(Array.from({ length: 20 }, (_, n) => server.connect({ sessionId: `s${n}` })))
  for (let n = 0; n < 20; n++) server.node.restarted(`session:s${n}`)
  server.node.restarted('all')
  server.node.restarted('session:nobody')
  for (let n = 0; n < 19; n++) server.broker.fail(`join session:s${n}`)
  server.broker.answer('join session:s19')
  await new Promise((resolve) => { setImmediate(resolve) })
  server.clock.tick()
  t.same(peers.map(({ transport }) => transport.closedWith?.code), [...Array<number>(19).fill(1013), undefined])
  t.match(peers[19]!.take(), [{ type: 'subscribed', reason: 'restarted' }])
  t.match(server.log.entries.filter(({ level }) => level === 'warn' || level === 'error'), [
    { message: /^the broker has lost history/, fields: { streams: 21 } }, { message: /^the broker could not join/, fields: { streams: 19 } }
  ])
})
