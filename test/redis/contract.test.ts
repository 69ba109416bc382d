import { readFile } from 'node:fs/promises'
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

t.test('a client of iovalkey is as good, with only the keys, channels and commands that the README lists', { skip: withoutRedis, timeout: 180_000 }, async (t) => {
  const server = await RedisServer.start()
  t.teardown(() => server.stop())
  const text = await readFile(new URL('../../lib/redis/README.md', import.meta.url), 'utf8')
  const section = text.slice(text.indexOf('- The user needs'), text.indexOf('## What happens'))
  const commands = [...section.matchAll(/`([A-Z]+(?:\|[A-Z]+)?)`/g)].map(([, name]) => `+${name!.toLowerCase()}`)
  await server.command('ACL', 'SETUSER', 'app', 'on', '>secret', 'resetkeys', '~test*:1:*', 'resetchannels', '&test*:1:*', '-@all', ...commands)
  const unsupported = ['history.maxTotalBytes', 'history.maxStreams']
  // Only its settings are used, and not its prefix.
  const create = () => redisFixture(server, { createRedis: (port) => new Valkey({ port, username: 'app', password: 'secret', lazyConnect: true, keyPrefix: 'app:' }) })
  const cases = brokerContract({ create, hasManyNodes: true, canLose: true, canDisconnect: true, canKill: true, unsupported })
  for (const { name, run } of cases) await t.test(name, run)
  t.same(await server.command('ACL', 'LOG'), [], 'Redis has refused nothing')
})
