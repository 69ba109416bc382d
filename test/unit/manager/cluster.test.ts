import t from 'tap'
import { memoryBroker } from '../../support/memory-broker.js'
import { TestServer } from '../../support/server.js'

t.test('the stats of all nodes are those of the one node, with its name', async (t) => {
  const server = new TestServer(memoryBroker)
  await server.connect({ userId: 'u', sessionId: 's' })
  await server.connect({ userId: 'v' })
  const { clients, ...totals } = server.manager.getStats()
  t.same(await server.manager.getClusterStats(), {
    ...totals,
    clients: clients.map((client) => ({ ...client, node: 'local' })),
    nodes: [{ node: 'local', totalConnections: 2, activeConnections: 2 }],
    missing: []
  })
  t.match(await server.manager.getClusterStats({ userId: 'v' }), { totalConnections: 2, clients: [{ userId: 'v' }] })
  for (const [limit, listed] of [[1, 1], [0, 0], [-1, 0]] as const) t.equal((await server.manager.getClusterStats({ limit })).clients.length, listed)
})

t.test('an answer lists 1,000 clients at most', async (t) => {
  const server = new TestServer(memoryBroker)
  for (let n = 0; n < 1_001; n++) await server.connect()
  for (const filter of [{}, { limit: 5_000 }]) {
    const { totalConnections, clients } = await server.manager.getClusterStats(filter)
    t.same([totalConnections, clients.length], [1_001, 1_000])
  }
})

t.test('the answers of several nodes are summed, and a node with an answer of another version is missing', async (t) => {
  const server = new TestServer(memoryBroker)
  const other = { totalConnections: 3, activeConnections: 2, clients: [{ id: 'c', isAlive: true, state: 1 }] }
  const unreadable = ['', 'null', '7', '{', '{"totalConnections":1,"activeConnections":1}', '{"totalConnections":"1","activeConnections":1,"clients":[]}']
  t.intercept(server.broker, 'ask', {
    value: () => ({ answers: [{ node: 'a', answer: JSON.stringify(other) }, { node: 'b', answer: JSON.stringify(other) }, ...unreadable.map((answer, at) => ({ node: `old-${at}`, answer }))], missing: ['c'] })
  })
  t.same(await server.manager.getClusterStats(), {
    totalConnections: 6,
    activeConnections: 4,
    clients: [{ ...other.clients[0], node: 'a' }, { ...other.clients[0], node: 'b' }],
    nodes: [{ node: 'a', totalConnections: 3, activeConnections: 2 }, { node: 'b', totalConnections: 3, activeConnections: 2 }],
    missing: ['c', ...unreadable.map((_, at) => `old-${at}`)]
  })
  t.equal((await server.manager.getClusterStats({ limit: 1 })).clients.length, 1)
})

t.test('an unknown question has an empty answer', async (t) => {
  const { node } = new TestServer(memoryBroker)
  for (const question of ['', '{}', 'null', '{"type":"dance"}']) t.equal(node.answer(question), '')
})

t.test('disconnectUser closes the connections of one user with the given code', async (t) => {
  const server = new TestServer(memoryBroker)
  const first = await server.connect({ userId: 'u', sessionId: 's' })
  const second = await server.connect({ userId: 'u' })
  const bystander = await server.connect({ userId: 'v' })
  t.same(await server.manager.disconnectUser('u'), { connections: 2, missing: [] })
  for (const { transport } of [first, second]) t.same(transport.closedWith, { code: 1000, reason: 'Normal closure' })
  t.equal(bystander.transport.closedWith, undefined)
  t.same(await server.manager.disconnectUser('u'), { connections: 0, missing: [] }, 'they are closing already')
  t.same(await server.manager.disconnectUser('v', 4321), { connections: 1, missing: [] })
  t.same(bystander.transport.closedWith, { code: 4321, reason: '' })
  t.same(server.manager.getMetrics().closes, { normal: 2, other: 1 })
  t.same(await server.manager.disconnectUser('nobody', 1012), { connections: 0, missing: [] })
})

t.test('disconnectUser refuses codes that a server may not send, and does nothing after close', async (t) => {
  const server = new TestServer(memoryBroker)
  await server.connect({ userId: 'u' })
  for (const code of [0, 999, 1005, 1006, 1015, 2999, 5000, 4000.5, NaN, '1000', null]) {
    await t.rejects(server.manager.disconnectUser('u', code as number), { code: 'AICW_ERR_INVALID_OPTION', message: /must be 1000/ }, String(code))
  }
  await t.rejects(server.manager.disconnectUser(''), { code: 'AICW_ERR_INVALID_ID' })
  await server.manager.close()
  t.same(await server.manager.disconnectUser('u'), { connections: 0, missing: [] })
})
