import { spawnSync } from 'node:child_process'
import t from 'tap'
import { pythonRedis } from '../support/real-parts.js'
import { startNode } from '../support/redis-apps.js'
import { RedisServer, withoutRedis } from '../support/redis-server.js'
import { connect } from '../support/ws-client.js'
import { namesIn, Page } from './markdown.js'
import { propertiesOf, runSnippet } from './snippets.js'
import { APP, FOLLOW } from './stage.js'

const page = new Page('lib/redis/README.md')

t.test('the tables of options name every one', (t) => {
  const ofBroker = propertiesOf('lib/redis/redis-broker.ts', 'RedisBrokerOptions')
  t.same(page.table('Many nodes on Redis').map(({ option }) => option), ofBroker)
  t.same(page.table('Workers').flatMap(({ option }) => namesIn(option)).sort(), propertiesOf('lib/redis/publisher.ts', 'PublisherOptions').sort())
  t.end()
})

t.test('the blocks run: a client of the app gets the job of the worker', { skip: withoutRedis }, async (t) => {
  const server = await RedisServer.start()
  t.teardown(() => server.stop())
  const [node] = page.below('Many nodes on Redis', 'js')
  const [worker] = page.below('Workers')
  const output = await runSnippet(t, `${APP}
    ${node!.replace('import aiCanvasWs from \'ai-canvas-ws\'', '').replace('6379', String(server.port))}
    ${FOLLOW}
    ${worker!.replace('6379', String(server.port))}
    while (!messages.some(({ type }) => type === 'ai_complete')) await once(client, 'message')
    console.log(messages.map(({ type }) => type).join(' '))
    client.terminate()
    await app.close()`)
  t.match(output, /^complete Once upon a time\nconnection ai_start ai_progress (?:ai_progress )*ai_complete\n$/)
})

const python = pythonRedis.find()
const noPython: string | false = python === undefined && process.env.CI !== 'true' && 'redis-py is not installed: run "npm run setup"'

t.test('the worker in Python reports on its job', { skip: withoutRedis || noPython }, async (t) => {
  const server = await RedisServer.start()
  t.teardown(() => server.stop())
  const { url } = await startNode(t, server)
  const client = await connect(t, url('?sessionId=my_session'))
  const [block] = page.below('Workers in other languages', 'python')
  const program = block!.replace('redis.Redis(', `redis.Redis(port=${server.port}, `)
  const run = spawnSync(python ?? 'python3', ['-c', program], { encoding: 'utf8' })
  t.match(run, { status: 0 }, run.stderr)
  t.match(await client.nextOf('ai_start'), { jobId: 'job_1', task: { prompt: 'Tell a story' } })
  t.match(await client.nextOf('ai_progress'), { progress: { delta: 'Once upon a time' } })
  t.match(await client.nextOf('ai_complete'), { jobId: 'job_1' })
})
