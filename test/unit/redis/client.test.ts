import t from 'tap'
import { clientFactory } from '../../../lib/redis/client.js'
import { redisBroker } from '../../../lib/redis/index.js'

t.test('the client that is copied neither retries nor reconnects by itself, and begins with another sentinel each time', async (t) => {
  const copies: Array<Record<string, unknown>> = []
  const sentinels = [{ host: 'a' }, { host: 'b' }]
  const create = await clientFactory({ options: { sentinels }, duplicate: (overrides?: object) => copies.push({ ...overrides }) })
  create()
  create()
  t.same(copies.map((copy) => copy.sentinels), [[{ host: 'a' }, { host: 'b' }], [{ host: 'b' }, { host: 'a' }]])
  for (const name of ['retryStrategy', 'sentinelRetryStrategy']) t.equal((copies[0]![name] as () => unknown)(), null, name)
})

t.test('a broker that is not open says so', async (t) => {
  const broker = redisBroker({ redis: {} })
  t.match(broker.status?.(), { state: 'unavailable', reason: /not open/ })
  await t.rejects(Promise.resolve(broker.publish('session:s', '{}', { durable: true })), /the broker is not open/)
  broker.leave('session:s')
  await broker.close()
  await t.rejects(Promise.resolve(broker.join('session:s')), /the broker is not open|closed/)
})
