import t, { type Test } from 'tap'
import { withoutRedis, RedisServer } from '../../support/redis-server.js'
import { until } from '../../support/until.js'
import { ended, endsOf, follow, jobOf } from '../../support/sessions.js'
import { post, runRecipe, startRecipe, whyNot, type Program } from './support.js'

// The server, the workers and Redis are processes of their own.

const options = { skip: whyNot() || withoutRedis, timeout: 180_000 }
const CHAPTERS = [1, 2, 3, 4, 5].map((n) => `This is an answer to: the sea, chapter ${n}.\n`).join('')

interface Stage {
  readonly redis: RedisServer
  readonly url: () => string
  readonly add: (queue: string) => Promise<string>
  readonly work: (env?: NodeJS.ProcessEnv) => Promise<Program>
}

async function stage (t: Test): Promise<Stage> {
  const redis = await RedisServer.start()
  t.teardown(() => redis.stop())
  const env = { REDIS_HOST: '127.0.0.1', REDIS_PORT: String(redis.port), WORDS_PER_SECOND: '100', FAILURE_RATE: '0' }
  const { url, ws } = await startRecipe(t, 'bullmq', env)
  return {
    redis,
    url: () => ws,
    add: async (queue) => String((await post(`${url}/${queue}`, { sessionId: 's', prompt: 'the sea' })).body.jobId),
    work: async (changes) => {
      const worker = runRecipe(t, 'bullmq', { ...env, ...changes }, { script: 'worker' })
      await worker.line(/waiting for jobs/)
      return worker
    }
  }
}

t.test('an answer is streamed, and a report is written chapter by chapter', options, async (t) => {
  const stages = await stage(t)
  const client = await follow(t, stages)
  await stages.work()
  t.match(await ended(client, await stages.add('answers')), { status: 'complete', text: 'This is an answer to: the sea' })
  t.match(await ended(client, await stages.add('reports')), { status: 'complete', text: CHAPTERS, result: { chapters: 5 } })
})

t.test('a job ends with its error after its last attempt only', options, async (t) => {
  const stages = await stage(t)
  const client = await follow(t, stages)
  const ends = endsOf(client)
  await stages.work({ FAILURE_RATE: '1' })
  const jobId = await stages.add('reports')
  t.match(await ended(client, jobId), { status: 'error', error: { message: 'the model is overloaded' } })
  t.same(ends, [`ai_error ${jobId}`])
})

t.test('a report whose first attempt fails continues on another worker, while the first one is stopped', options, async (t) => {
  const stages = await stage(t)
  const client = await follow(t, stages)
  const ends = endsOf(client)
  const first = await stages.work({ FAILURE_RATE: '1' })
  const jobId = await stages.add('reports')
  const key = `bull:reports:${jobId}`
  await until(async () => await stages.redis.command('HGET', key, 'atm') === '1')
  t.match(await first.stop('SIGTERM'), { code: 0 })
  await stages.work()
  t.match(await ended(client, jobId), { status: 'complete', text: CHAPTERS })
  t.same(ends, [`ai_complete ${jobId}`], 'clients saw neither the failure nor the stop')
})

t.test('a worker is killed in the middle of a report: another one finishes it', options, async (t) => {
  const stages = await stage(t)
  const client = await follow(t, stages)
  const ends = endsOf(client)
  const first = await stages.work({ WORDS_PER_SECOND: '20' })
  const jobId = await stages.add('reports')
  await until(() => (jobOf(client, jobId)?.text ?? '').includes('chapter 2'))
  await first.stop('SIGKILL')
  await stages.work()
  t.match(await ended(client, jobId), { status: 'complete', result: { chapters: 5 } })
  const { text } = jobOf(client, jobId)!
  for (const n of [1, 2, 3, 4, 5]) t.ok(text.includes(`chapter ${n}.`), `chapter ${n}`)
  t.same(ends, [`ai_complete ${jobId}`], 'it did not count as stalled')
})

t.test('a cancel reaches the worker, or takes a waiting job out of its queue', options, async (t) => {
  const stages = await stage(t)
  const client = await follow(t, stages)
  const waiting = await stages.add('reports')
  client.cancel('s', waiting)
  await until(async () => await stages.redis.command('EXISTS', `bull:reports:${waiting}`) === 0)
  const worker = await stages.work({ WORDS_PER_SECOND: '5' })
  for (const queue of ['answers', 'reports']) {
    const jobId = await stages.add(queue)
    await until(() => jobOf(client, jobId)?.status === 'processing')
    client.cancel('s', jobId)
    t.match(await ended(client, jobId), { status: 'error', error: { type: 'cancelled' } })
    // A job that is not retried is kept as failed.
    await until(async () => await stages.redis.command('ZSCORE', `bull:${queue}:failed`, jobId) !== null)
  }
  t.equal(jobOf(client, waiting), undefined)
  t.match(await worker.stop('SIGTERM'), { code: 0 })
})
