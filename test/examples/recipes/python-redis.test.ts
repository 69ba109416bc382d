import { writeFileSync } from 'node:fs'
import t, { type Test } from 'tap'
import { isReady, startNode } from '../../support/redis-apps.js'
import { startRedis } from '../../support/redis-nodes.js'
import { withoutRedis, type RedisServer } from '../../support/redis-server.js'
import { pythonRedis } from '../../support/real-parts.js'
import { ended, endsOf, follow, jobOf } from '../../support/sessions.js'
import { until } from '../../support/until.js'
import { connect } from '../../support/ws-client.js'
import { runProgram, type Program } from './support.js'

const python = pythonRedis.find()
const noPython: string | false = python === undefined && process.env.CI !== 'true' && 'redis-py is not installed: run "npm run setup"'
const options = { skip: noPython || withoutRedis, timeout: 60_000 }
const TEXT = 'This is a report about the sea. 📄 It is written by a worker in Python. '

const work = (t: Test, { port }: RedisServer, env: NodeJS.ProcessEnv = {}): Program =>
  runProgram(t, python ?? 'python3', ['-B', 'worker.py', 's', 'the sea'], 'python-redis', { REDIS_URL: `redis://127.0.0.1:${port}`, SECONDS_PER_WORD: '0.1', ...env })

t.test('the reports of a worker reach the clients of two nodes', options, async (t) => {
  const server = await startRedis(t)
  const clients = [await follow(t, await startNode(t, server)), await follow(t, await startNode(t, server))]
  const ends = clients.map(endsOf)
  const { code, output } = await work(t, server).ended
  t.equal(code, 0, output)
  const jobId = output.trim()
  for (const client of clients) t.match(await ended(client, jobId), { status: 'complete', text: TEXT, result: { by: 'a worker in Python' } })
  t.same(ends, [[`ai_complete ${jobId}`], [`ai_complete ${jobId}`]])
})

t.test('Redis is killed in the middle of a job and comes back empty: clients get the whole text, and the end once', options, async (t) => {
  const server = await startRedis(t)
  const a = await startNode(t, server)
  const client = await follow(t, a)
  const ends = endsOf(client)
  const jobs = new Promise<string>((resolve) => { client.on('ai_start', ({ jobId }) => { resolve(String(jobId)) }) })
  const worker = work(t, server)
  const jobId = await jobs
  await until(() => (jobOf(client, jobId)?.text.length ?? 0) > 10)
  await server.kill()
  await server.restart()
  await isReady(a)
  t.match(await worker.ended, { code: 0, output: `${jobId}\n` })
  t.match(await ended(client, jobId), { status: 'complete', text: TEXT, result: { by: 'a worker in Python' } })
  // Until the worker reports again, the job may show as lost.
  t.same(ends.filter((end) => end.startsWith('ai_complete')), [`ai_complete ${jobId}`])
  t.match(await ended(await follow(t, await startNode(t, server)), jobId), { status: 'complete', text: TEXT })
})

t.test('a worker that fails ends its job', options, async (t) => {
  const server = await startRedis(t)
  const client = await follow(t, await startNode(t, server))
  const jobs = new Promise<string>((resolve) => { client.on('ai_start', ({ jobId }) => { resolve(String(jobId)) }) })
  t.match(await work(t, server, { FAIL_AT: 'report' }).ended, { code: 1, output: /RuntimeError: the model is away/ })
  t.match(await ended(client, await jobs), { status: 'error', text: 'This is a ', error: { type: 'internal_error', message: 'the worker failed', retryable: true } })
})

t.test('a worker waits for the first node', options, async (t) => {
  const server = await startRedis(t)
  const worker = work(t, server)
  await until(async () => String(await server.command('INFO', 'commandstats')).includes('hmget'))
  const client = await follow(t, await startNode(t, server))
  const { code, output } = await worker.ended
  t.equal(code, 0, output)
  t.match(await ended(client, output.trim()), { status: 'complete', text: TEXT })
})

t.test('a result that can\'t be sent ends the job with an error, and its id can\'t be used again', options, async (t) => {
  const server = await startRedis(t)
  const client = await follow(t, await startNode(t, server))
  const program = `
import redis
from reporter import Reporter
with Reporter(redis.Redis(port=${server.port}, decode_responses=True)).job("s", {}, "j") as job:
    job.write("Once")
    job.result = {"value": float("nan")}`
  t.match(await runProgram(t, python ?? 'python3', ['-B', '-c', program], 'python-redis').ended, { code: 1, output: /ValueError/ })
  t.match(await ended(client), { status: 'error', text: 'Once', error: { message: 'the worker failed' } })
  t.match(await runProgram(t, python ?? 'python3', ['-B', '-c', program], 'python-redis').ended, { code: 1, output: /AlreadyEnded: the job j has ended/ })
})

t.test('Redis refuses writes for a while: the worker waits, and the task and the text are whole', options, async (t) => {
  const server = await startRedis(t)
  const a = await startNode(t, server)
  const client = await follow(t, a)
  const reader = await connect(t, a.url('?sessionId=s'))
  await server.command('CONFIG', 'SET', 'min-replicas-to-write', '1')
  const worker = work(t, server)
  await until(async () => String(await server.command('INFO', 'errorstats')).includes('errorstat_NOREPLICAS'))
  await server.command('CONFIG', 'SET', 'min-replicas-to-write', '0')
  t.match(await reader.nextOf('ai_start'), { task: { prompt: 'the sea' } })
  await server.command('CONFIG', 'SET', 'min-replicas-to-write', '1')
  await until(async () => Number(/errorstat_NOREPLICAS:count=(\d+)/.exec(String(await server.command('INFO', 'errorstats')))?.[1]) > 3)
  await server.command('CONFIG', 'SET', 'min-replicas-to-write', '0')
  const { code, output } = await worker.ended
  t.equal(code, 0, output)
  t.match(await ended(client, output.trim()), { status: 'complete', text: TEXT })
})

t.test('Redis loses the job between the last piece and the end: the text and the task are sent again', options, async (t) => {
  const server = await startRedis(t)
  const a = await startNode(t, server)
  await follow(t, a)
  const program = `
import os
import time
import redis
from reporter import Reporter
with Reporter(redis.Redis(port=${server.port})).job("s", {"prompt": "p"}, "j") as job:
    job.write("Once 💡")
    job.flush()
    print("flushed", flush=True)
    while not os.path.exists("${server.directory}/continue"):
        time.sleep(0.05)`
  const worker = runProgram(t, python ?? 'python3', ['-B', '-c', program], 'python-redis')
  await worker.line(/flushed/)
  await server.kill()
  await server.restart()
  await isReady(a)
  writeFileSync(`${server.directory}/continue`, '')
  t.match(await worker.ended, { code: 0 })
  const late = await connect(t, (await startNode(t, server)).url('?sessionId=s'))
  t.match(await late.nextOf('ai_progress'), { progress: { delta: 'Once 💡' } })
  t.match(await late.nextOf('ai_complete'), { jobId: 'j' })
})
