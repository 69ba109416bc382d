import t, { type Test } from 'tap'
import { redisBroker } from '../../lib/redis/index.js'
import { originOf, startApp } from '../support/app.js'
import { RedisServer, withoutRedis } from '../support/redis-server.js'
import { ended, endsOf, follow } from '../support/sessions.js'
import { until } from '../support/until.js'

// Workers that report over HTTP, with nodes over a real Redis.

interface Answer { status: number, body: Record<string, unknown> }

async function startNode (t: Test, redis: RedisServer) {
  const broker = redisBroker({ redis: { port: redis.port }, leaseMs: 3_000 })
  const started = await startApp(t, { broker, closeTimeoutMs: 5_000, publish: { onRequest: (_request, _reply, done) => { done() } } })
  const url = `${originOf(started.app, 'http')}/api/ws/publish`
  return {
    ...started,
    broker,
    publish: async (body: object, key: string): Promise<Answer> => {
      const response = await fetch(url, { method: 'POST', headers: { 'content-type': 'application/json', 'idempotency-key': key }, body: JSON.stringify(body) })
      return { status: response.status, body: await response.json() as Record<string, unknown> }
    }
  }
}

async function start (t: Test) {
  const redis = await RedisServer.start()
  t.teardown(() => redis.stop())
  return { redis, a: await startNode(t, redis), b: await startNode(t, redis) }
}

const job = { sessionId: 's', jobId: 'j' }
const progress = (delta: string): object => ({ type: 'ai_progress', ...job, progress: { delta } })

t.test('requests with the same key are published once by two nodes, also if one of them closes', { skip: withoutRedis }, async (t) => {
  const { redis, a, b } = await start(t)
  const client = await follow(t, b)
  const ends = endsOf(client)
  /** Sends a request to both nodes at once, and again to one of them. */
  const everywhere = async (body: object, key: string): Promise<void> => {
    const answers = [...await Promise.all([a.publish(body, key), b.publish(body, key)]), await b.publish(body, key)]
    t.same(answers.map(({ status }) => status), [200, 200, 200])
    for (const { body } of answers) t.match(body, { seq: answers[0]!.body.seq, jobId: 'j', dropped: undefined })
  }
  await everywhere({ type: 'ai_start', ...job, task: {} }, 'start')
  for (let at = 0; at < 20; at++) await everywhere(progress(`${at} 💡`), `progress-${at}`)
  t.match(await a.publish(progress('other'), 'progress-0'), { status: 422, body: { code: 'AICW_ERR_KEY_REUSED' } })
  const [key] = await redis.command('KEYS', '*k:start session:s') as string[]
  const lifetime = Number(await redis.command('PTTL', key!))
  t.ok(lifetime > 500_000 && lifetime <= 600_000, `the key is kept for ${lifetime} ms more`)
  await a.app.close()
  t.match(await b.publish({ type: 'ai_complete', ...job, result: {} }, 'end'), { status: 200, body: { dropped: undefined } })
  t.match(await ended(client), { status: 'complete', text: Array.from({ length: 20 }, (_, at) => `${at} 💡`).join('') })
  t.same(ends, ['ai_complete j'])
})

t.test('a request whose outcome is unknown can be repeated on another node', { skip: withoutRedis }, async (t) => {
  const { redis, a, b } = await start(t)
  const client = await follow(t, b)
  await a.publish({ type: 'ai_start', ...job, task: {} }, 'start')
  redis.signal('SIGSTOP')
  const failed = await Promise.all([a.publish(progress('one '), 'one'), a.publish({ sessionId: 's', message: { type: 'note' } }, 'note')])
  t.match(failed, [{ status: 503, body: { code: 'AICW_ERR_UNAVAILABLE' } }, { status: 503 }])
  redis.signal('SIGCONT')
  await until(() => [a, b].every(({ broker }) => broker.status?.().state === 'ready'))
  t.match(await b.publish(progress('one '), 'one'), { status: 200 })
  t.match(await b.publish({ sessionId: 's', message: { type: 'note' } }, 'note'), { status: 200, body: { seq: 2 } })
  t.match(await b.publish({ type: 'ai_complete', ...job, result: {} }, 'end'), { status: 200, body: { seq: 3 } })
  t.match(await ended(client), { status: 'complete', text: 'one ' })

  await redis.kill()
  await until(() => b.broker.status?.().state === 'unavailable')
  t.match(await b.publish(progress('two '), 'two'), { status: 503, body: { code: 'AICW_ERR_UNAVAILABLE' } })
})
