import t from 'tap'
import { Balancer, checkNotes, Follower, nodesOptions as options, startNodes, startRedis } from '../../support/redis-nodes.js'
import { ended } from '../../support/sessions.js'
import { until } from '../../support/until.js'

// Nodes in processes of their own, which the tests replace.

t.test('two, three and five nodes publish to one session: all readers have one order', options, async (t) => {
  const server = await startRedis(t)
  const nodes = await startNodes(t, server, 5)
  const followers = await Promise.all(nodes.map((node) => Follower.of(t, node)))
  for (const count of [2, 3, 5]) {
    const producers = nodes.slice(0, count)
    const before = producers.map(({ accepted }) => accepted.length)
    await Promise.all(producers.map((node, at) => node.call('produce', 's', `${count} ${at}`, 10, 1)))
    await until(() => producers.every(({ accepted }, at) => accepted.length > before[at]! + 200))
    await Promise.all(producers.map((node) => node.call('stop')))
    await checkNotes(t, { accepted: nodes.flatMap(({ accepted }) => accepted), followers })
  }
})

t.test('three nodes are replaced by the next version under load: nothing is lost, doubled or falsely interrupted', options, async (t) => {
  const server = await startRedis(t)
  const old = await startNodes(t, server, 3)
  const balancer = await Balancer.start(t)
  balancer.add(...old)
  const followers = await Promise.all(Array.from({ length: 6 }, () => Follower.of(t, balancer)))
  await old[0]!.start('handed over')
  await old[0]!.progress('handed over', 'Once ')
  await Promise.all(old.map((node, at) => node.call('produce', 's', `old ${at}`, 5, 20)))
  const next = await startNodes(t, server, 3, { isNext: true })
  for (const [at, node] of old.entries()) {
    const replacement = next[at]!
    balancer.add(replacement)
    await replacement.call('produce', 's', `next ${at}`, 5, 20)
    // The job moves to a node of the next version: it has reported last, so it owns the job.
    if (at === 0) await replacement.progress('handed over', 'upon ')
    await until(() => replacement.accepted.length > 100)
    balancer.remove(node)
    await node.stop()
  }
  const libraries = await server.command('FUNCTION', 'LIST', 'LIBRARYNAME', 'aicw_1_*') as string[][]
  t.match(libraries.map(([, name]) => name).sort(), [/^aicw_1_[0-9a-f]{10}$/, 'aicw_1_next'], 'each version has called functions of its own')
  await Promise.all(next.map((node) => node.call('stop')))
  await next[0]!.progress('handed over', 'a time')
  await next[0]!.complete('handed over')
  for (const { client, ends } of followers) {
    t.match(await ended(client, 'handed over'), { status: 'complete', text: 'Once upon a time' })
    t.same(ends, ['ai_complete handed over'])
  }
  await checkNotes(t, { accepted: [...old, ...next].flatMap(({ accepted }) => accepted), followers })
})
