import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { startApp } from '../support/app.js'
import { Reader } from '../support/reader.js'
import { connect, open, type TestClient } from '../support/ws-client.js'

/** Reads until the job has ended. */
async function readAll (client: TestClient, reader: Reader): Promise<void> {
  for (;;) {
    const message = await client.next()
    reader.take(message)
    if (message.type === 'ai_complete') return
  }
}

function query (reader: Reader): string {
  const since = reader.since('session:s')
  return `?sessionId=s&have=${encodeURIComponent(JSON.stringify(reader.have))}${since === undefined ? '' : `&since=${since}`}`
}

const TEXT = 'Grüße 👋 漢字 👩‍👩‍👧 '.repeat(40)

/** Splits the text anywhere, even within characters. */
async function* pieces (): AsyncGenerator<string> {
  for (let at = 0; at < TEXT.length; at += 7) {
    yield TEXT.slice(at, at + 7)
    await sleep(1)
  }
}

t.test('a tab that stays, one that opens late and one that is disconnected repeatedly all end with the complete text', async (t) => {
  const { app, url } = await startApp(t)
  const stays = new Reader()
  const staying = readAll(open(t, url('?sessionId=s')), stays)
  const cut = new Reader()
  let cutting: TestClient | undefined
  const late = new Reader()
  let lateReading: Promise<void> | undefined
  let chunks = 0
  for await (const chunk of app.wsManager.trackAI('s', {}, pieces(), { text: true, throttleMs: 2, jobId: 'j' })) {
    t.type(chunk, 'string')
    chunks++
    if (chunks === 40) lateReading = readAll(open(t, url('?sessionId=s')), late)
    if (chunks % 10 !== 0) continue
    if (cutting !== undefined) {
      for (const message of cutting.waiting) cut.take(message)
      cutting.ws.terminate()
      cut.view('session:s').replaying = 0
    }
    cutting = open(t, url(query(cut)))
  }
  await Promise.all([staying, lateReading, readAll(cutting!, cut)])
  for (const [name, reader] of Object.entries({ stays, cut, late })) {
    t.equal(reader.text('j'), TEXT, name)
    t.equal(reader.texts.get('j')?.truncated, false)
  }
})

t.test('an app\'s own deltas are assembled by the offset that the server counts', async (t) => {
  const { app, url } = await startApp(t)
  const client = await connect(t, url('?sessionId=s'))
  for (const delta of ['Hel', 'lo \ud83d', '\udc4b']) await app.wsManager.notifyAIProgress('s', { delta, offset: 999 })
  t.same((await client.sync()).map(({ progress }) => progress as object), [
    { delta: 'Hel', offset: 0 }, { delta: 'lo ', offset: 3 }, { delta: '👋', offset: 6 }
  ])
})

t.test('a client that detects a gap sends its `have`, and receives the missing text', async (t) => {
  const { app, url } = await startApp(t)
  const client = await connect(t, url('?sessionId=s'))
  const { jobId } = await app.wsManager.notifyAIProgress('s', { delta: 'Hello, world' })
  await client.next()
  for (const [have, progress] of [
    [{ [jobId!]: 5 }, { delta: ', world', offset: 5 }], [{ [jobId!]: 12 }, {}], [{}, { delta: 'Hello, world', offset: 0 }],
    [{ [jobId!]: 99 }, { delta: 'Hello, world', offset: 0 }], [{ [jobId!]: -1 }, { delta: 'Hello, world', offset: 0 }],
    ['nonsense', { delta: 'Hello, world', offset: 0 }]
  ] as const) {
    client.send({ type: 'subscribe', sessionId: 's', have })
    t.match(await client.next(), { type: 'subscribed', replaying: 1 })
    t.strictSame((await client.next()).progress, progress)
  }
})

t.test('missing text is sent before the end, even if the job ended during the disconnect', async (t) => {
  const { app, url } = await startApp(t)
  const reader = new Reader()
  const client = open(t, url('?sessionId=s'))
  reader.take(await client.next())
  await app.wsManager.notifyAIProgress('s', { delta: 'Hello' }, { jobId: 'j' })
  reader.take(await client.next())
  client.ws.terminate()
  await app.wsManager.notifyAIProgress('s', { delta: ', world' }, { jobId: 'j' })
  await app.wsManager.notifyAIComplete('s', {}, { jobId: 'j' })
  const back = open(t, url(query(reader)))
  t.match(await back.next(), { recovered: true, replaying: 2 })
  t.match(await back.next(), { type: 'ai_progress', progress: { delta: ', world', offset: 5 } })
  t.match(await back.next(), { type: 'ai_complete' })
})

t.test('a text that exceeds its limit keeps its newest part and is marked as truncated', async (t) => {
  const { app, url } = await startApp(t, { jobs: { maxTextUnits: 8 } })
  const stays = await connect(t, url('?sessionId=s'))
  for (const delta of ['01234', '56789']) await app.wsManager.notifyAIProgress('s', { delta })
  t.strictSame((await stays.next()).progress, { delta: '01234', offset: 0 })
  t.strictSame((await stays.next()).progress, { delta: '56789', offset: 5 })
  const late = await connect(t, url('?sessionId=s'))
  t.strictSame((await late.next()).progress, { delta: '3456789', offset: 3, truncated: true })
})
