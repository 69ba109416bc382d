import { once } from 'node:events'
import t, { type Test } from 'tap'
import { startApp } from '../support/app.js'
import { captureLog } from '../support/log.js'
import { RawClient } from '../support/raw-client.js'
import { connect, open, type TestClient } from '../support/ws-client.js'

/** Long enough that a responsive peer does not count as silent on a busy machine. */
const INTERVAL_MS = 1_000

/** When the next rounds reach this peer, the others have lived as long. */
async function rounds (client: TestClient, count: number): Promise<void> {
  for (let round = 0; round < count; round++) await once(client.ws, 'ping')
}

/** Sends something at intervals until the test ends. */
function talk (t: Test, client: TestClient): void {
  const timer = setInterval(() => { client.send({ type: 'ping' }) }, INTERVAL_MS / 10)
  t.teardown(() => { clearInterval(timer) })
}

t.test('a silent peer is terminated after a round; peers that answer pings or only send are not', async (t) => {
  const { lines, stream } = captureLog()
  const { app, url } = await startApp(t, { heartbeatIntervalMs: INTERVAL_MS }, { logger: { level: 'debug', stream } })
  const talking = await connect(t, url('?userId=talking'), { autoPong: false })
  talk(t, talking)
  const answering = await connect(t, url('?userId=answering'))
  // Connected last and with its listener set from the start, because its first ping may come at any time within a round.
  const silent = open(t, url('?userId=silent'), { autoPong: false })
  await once(silent.ws, 'ping')
  t.match(app.wsManager.getStats({ userId: 'silent' }), { totalConnections: 3, clients: [{ isAlive: false, state: 1 }] })
  t.match(await silent.closed, { code: 1006 }, 'without a closing handshake, which a dead peer would not answer')

  await rounds(talking, 3)
  t.equal(talking.ws.readyState, talking.ws.OPEN)
  t.equal(answering.ws.readyState, answering.ws.OPEN)
  t.match(app.wsManager.getStats(), { totalConnections: 2, clients: [{ userId: 'talking' }, { userId: 'answering' }] })
  t.match(app.wsManager.getMetrics(), { closes: { abnormal: 1 } })
  const { clientId } = await silent.nextOf('connection')
  t.match(lines.filter(({ msg }) => msg === 'a client answered no ping: terminated'), [{ clientId: clientId as string }])
})

t.test('each ping has a payload, and its pong measures the latency', async (t) => {
  const { app, url } = await startApp(t, { heartbeatIntervalMs: INTERVAL_MS })
  t.equal(app.wsManager.getMetrics().averageLatency, 0, 'before the first')
  const client = await connect(t, url())
  const payloads = new Set<string>()
  client.ws.on('ping', (payload: Buffer) => { payloads.add(payload.toString()) })
  await rounds(client, 3)
  t.equal(payloads.size, 3, 'so that a late pong is recognized')
  t.equal(client.waiting.length, 0, 'pings are frames, not messages')
  await client.sync()
  const { averageLatency } = app.wsManager.getMetrics()
  t.ok(averageLatency > 0 && averageLatency < INTERVAL_MS, `${averageLatency} ms`)
})

t.test('a client\'s pings are answered, and count as a sign of life', async (t) => {
  const { app, url } = await startApp(t, { heartbeatIntervalMs: INTERVAL_MS })
  const client = await connect(t, url(), { autoPong: false })
  const timer = setInterval(() => { client.ws.ping('p') }, INTERVAL_MS / 10)
  t.teardown(() => { clearInterval(timer) })
  const [payload] = await once(client.ws, 'pong') as [Buffer]
  t.equal(payload.toString(), 'p')
  await rounds(client, 3)
  t.equal(app.wsManager.getStats().totalConnections, 1)
})

t.test('a peer that stopped reading with data waiting for it is a slow consumer, not a dead peer', async (t) => {
  const { app, url } = await startApp(t, {
    heartbeatIntervalMs: INTERVAL_MS, closeTimeoutMs: 100, delivery: { maxOutboxBytes: 64 * 1024 * 1024, stallTimeoutMs: 4 * INTERVAL_MS }
  })
  const witness = await connect(t, url())
  const stalled = new RawClient(t, url('?userId=u1'))
  await stalled.frame()
  stalled.socket.pause()
  for (let n = 0; n < 24; n++) await app.wsManager.broadcastToUser('u1', { type: 'filler', text: 'x'.repeat(1024 * 1024) })
  await rounds(witness, 2)
  t.equal(app.wsManager.getStats({ userId: 'u1' }).clients.length, 1, 'two rounds do not end it')
  while (app.wsManager.getStats({ userId: 'u1' }).clients.length > 0) await rounds(witness, 1)
  t.match(app.wsManager.getMetrics(), { slowConsumers: 1, closes: { slowConsumer: 1, abnormal: undefined }, bufferedAmount: 0 })
})
