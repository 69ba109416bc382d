import { Redis as Valkey } from 'iovalkey'
import t from 'tap'
import { brokerContract } from '../../lib/testing/index.js'
import { redisFixture } from '../support/redis-fixture.js'
import { RedisServer, withoutRedis } from '../support/redis-server.js'

t.test('the broker over Redis keeps the contract', { skip: withoutRedis, timeout: 180_000 }, async (t) => {
  const server = await RedisServer.start()
  t.teardown(() => server.stop())
  const unsupported = ['history.maxTotalBytes', 'history.maxStreams']
  const cases = brokerContract({ create: () => redisFixture(server), hasManyNodes: true, canLose: true, canDisconnect: true, canKill: true, unsupported })
  for (const { name, run } of cases) await t.test(name, run)
})

t.test('a client of iovalkey is as good, and only its settings are used', { skip: withoutRedis, timeout: 180_000 }, async (t) => {
  const server = await RedisServer.start()
  t.teardown(() => server.stop())
  const unsupported = ['history.maxTotalBytes', 'history.maxStreams']
  const create = () => redisFixture(server, { createRedis: (port) => new Valkey({ port, lazyConnect: true, keyPrefix: 'app:' }) })
  for (const { name, run } of brokerContract({ create, hasManyNodes: true, canLose: true, canDisconnect: true, unsupported })) await t.test(name, run)
})
