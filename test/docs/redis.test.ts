import t from 'tap'
import { RedisServer, withoutRedis } from '../support/redis-server.js'
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
