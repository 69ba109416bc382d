import t from 'tap'
import { redisBroker } from '../../../lib/redis/index.js'
import { startApp } from '../../support/app.js'
import { RedisServer, withoutRedis } from '../../support/redis-server.js'
import { connect } from '../../support/ws-client.js'
import { runRecipe, whyNot } from './support.js'

t.test('a script reports a job, and exits', { skip: whyNot() || withoutRedis }, async (t) => {
  const redis = await RedisServer.start()
  t.teardown(() => redis.stop())
  const { url } = await startApp(t, { broker: redisBroker({ redis: { port: redis.port } }) })
  const client = await connect(t, url('?sessionId=s'))
  const script = runRecipe(t, 'node-script', { REDIS_URL: `redis://127.0.0.1:${redis.port}` }, { args: ['s'] })
  t.match(await script.ended, { code: 0, output: '' })
  t.match(await client.nextOf('ai_start'), { task: { prompt: 'Tell a story' } })
  t.match(await client.nextOf('ai_complete'), { result: { by: 'a script' } })
  const late = await connect(t, url('?sessionId=s'))
  t.match(await late.nextOf('ai_complete'), { replayed: 'snapshot' })
  await redis.kill()
  t.match(await runRecipe(t, 'node-script', { REDIS_URL: `redis://127.0.0.1:${redis.port}` }).ended, { code: 1, output: /start Redis, or correct the option "redis"/ })
})
