import t from 'tap'
import { fuzzBroker } from '../../lib/testing/index.js'
import { redisFixture } from '../support/redis-fixture.js'
import { RedisServer, withoutRedis } from '../support/redis-server.js'

t.test('10,000 random calls have the same results and deliveries as with the memory broker', { skip: withoutRedis, timeout: 120_000 }, async (t) => {
  const server = await RedisServer.start()
  t.teardown(() => server.stop())
  const report = await fuzzBroker({ calls: 10_000, create: () => redisFixture(server) })
  t.ok(report.deliveries > 2_000, `${report.deliveries} deliveries with the seed ${report.seed}`)
})
