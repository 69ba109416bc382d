import t from 'tap'
import { createServer, type TestServer } from '../../support/server.js'
import type { Message } from '../../support/ws-client.js'

// The state of a job is evicted, and then the job continues, stalls, and continues again.

const STALL_MS = 10_000

async function start () {
  const server = createServer({ jobs: { stallAfterMs: STALL_MS }, bounds: { maxTotalBytes: 8 * 1024 * 1024 } })
  const reader = await server.connect({ sessionId: 's' })
  const { epoch } = JSON.parse(reader.transport.texts[0]!) as { epoch: string }
  const job = server.manager.startAI('s', {}, { jobId: 'j' })
  return { server, reader, job, epoch }
}

let greedy = 0

/** Fills the history with the results of other sessions, and then frees it again. */
async function press (server: TestServer): Promise<void> {
  for (let n = 0; n < 4_500; n++) await server.manager.notifyAIComplete(`greedy ${greedy++}`, {})
  for (let n = 0; n < 3; n++) await server.manager.notifyAIProgress(`busy ${n}`, { note: 'x'.repeat(2_500) })
  for (let n = 0; n < 3; n++) await server.manager.notifyAIComplete(`busy ${n}`, {})
}

/** Messages that a client gets when it subscribes with a position and with part of the text. */
async function told (server: TestServer, since?: { epoch: string, seq: number }, held = 0): Promise<Message[]> {
  const peer = await server.connect({ sessionId: 's', request: { since, have: new Map([['j', held]]) } })
  const messages = peer.transport.texts.map((text) => JSON.parse(text) as Message)
  peer.leave()
  return messages
}

const STALLED = { type: 'ai_error', error: { type: 'stalled' } }
const GONE = { type: 'ai_progress', progress: { delta: '', offset: 5, truncated: true } }

t.test('a client that lacks evicted text is told so, even if the job has stalled meanwhile', async (t) => {
  const { server, job, epoch } = await start()
  await job.progress({ chunksReceived: 1, delta: 'Hello' })
  await press(server)
  t.match(await told(server, { epoch, seq: 1 }, 2), [{ recovered: true, replaying: 1 }, GONE])
  server.clock.advance(STALL_MS)
  t.match(await told(server), [{ reason: 'new', replaying: 2 }, GONE, STALLED])
  t.match(await told(server, { epoch, seq: 1 }, 2), [{ recovered: true, replaying: 2 }, GONE, STALLED])
  const [, progress, end] = await told(server, { epoch, seq: 1 }, 5)
  t.match(end, STALLED)
  t.strictSame(progress!.progress, { chunksReceived: 1 }, 'a client with the whole text gets no gap')
})

for (const isFollowed of [true, false]) {
  t.test(`a job that stalled, lost its state, and goes on, goes on where it was (${isFollowed ? 'followed' : 'not followed'})`, async (t) => {
    const { server, reader, job, epoch } = await start()
    await job.progress({ chunksReceived: 1, delta: 'Hello' })
    server.clock.advance(STALL_MS)
    t.match(reader.take().at(-1), STALLED)
    if (!isFollowed) reader.leave(1006)
    await press(server)
    t.match(await told(server, { epoch, seq: 1 }, 5), [{ recovered: false, reason: 'expired', replaying: 0 }], 'no progress is replayed without its end')
    t.match(await told(server), [{ reason: 'new', replaying: 0 }])

    t.match(await job.progress({ chunksReceived: 2, delta: ', world' }), { dropped: 'ended' })
    t.match(await job.complete({ chunks: 2 }), { epoch, seq: 3 })
    const after = [{ type: 'ai_progress', progress: { delta: ', world', offset: 5 } }, { type: 'ai_complete', supersedes: true, seq: 3 }]
    if (isFollowed) t.match(reader.take(), after)
    t.match(await told(server, { epoch, seq: 2 }, 5), [{ recovered: true, replaying: 2 }, ...after])
    t.match(await told(server), [{}, { progress: { delta: ', world', offset: 5, truncated: true } }, { type: 'ai_complete' }])
  })
}

t.test('a text that starts after the eviction starts at offset 0', async (t) => {
  const { server, reader, job } = await start()
  await job.progress({ chunksReceived: 1 })
  server.clock.advance(STALL_MS)
  await press(server)
  await job.progress({ chunksReceived: 2, delta: 'Hello' })
  reader.take()
  await job.complete({ chunks: 2 })
  t.match(reader.take(), [{ type: 'ai_progress', progress: { delta: 'Hello', offset: 0 } }, { type: 'ai_complete', supersedes: true }])
})

t.test('jobs that ended are forgotten, and all memory is released in time', async (t) => {
  const { server, job } = await start()
  await job.progress({ chunksReceived: 1, delta: 'Hello' })
  server.clock.advance(STALL_MS)
  await job.complete({ chunks: 1 })
  await press(server)
  t.match(await told(server), [{ replaying: 0 }])
  server.clock.advance(2 * 24 * 3_600_000)
  t.equal(server.broker.bytes, 0)
})
