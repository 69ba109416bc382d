import t from 'tap'
import { Balancer, checkNotes, Follower, nodesOptions as options, startNodes, startRedis, type NodeProcess } from '../../support/redis-nodes.js'
import { ended } from '../../support/sessions.js'
import { until } from '../../support/until.js'

// Nodes in processes of their own, which the tests kill, or stop for a while.

t.test('nodes are killed in the middle of jobs and publishes: their clients continue elsewhere and miss nothing, and their jobs end as stalled, once', options, async (t) => {
  const server = await startRedis(t)
  const [first, second, last] = await startNodes(t, server, 3) as [NodeProcess, NodeProcess, NodeProcess]
  const balancer = await Balancer.start(t)
  balancer.add(first, second, last)
  const followers = await Promise.all(Array.from({ length: 6 }, () => Follower.of(t, balancer)))
  for (const [at, node] of [first, second, last].entries()) {
    await node.start(`job ${at}`)
    await node.progress(`job ${at}`, 'Once upon ')
    await node.call('produce', 's', String(at), 5, 5)
  }
  for (const [at, node] of [first, second].entries()) {
    await until(() => node.accepted.length > 100)
    balancer.remove(node)
    const since = performance.now()
    await node.kill()
    const job = await ended(followers[0]!.client, `job ${at}`)
    const ms = performance.now() - since
    t.match(job, { error: { type: 'stalled' }, text: 'Once upon ' })
    // The machine may be busy: the lease and a third of it are 4 seconds.
    t.ok(ms < 10_000, `after ${Math.round(ms)} ms`)
  }
  await last.call('stop')
  await last.progress('job 2', 'a time')
  await last.complete('job 2')
  for (const { client } of followers) t.match(await ended(client, 'job 2'), { status: 'complete', text: 'Once upon a time' })
  await checkNotes(t, { accepted: [first, second, last].flatMap(({ accepted }) => accepted), followers })
  for (const { ends } of followers) t.same(ends, ['ai_error job 0 stalled', 'ai_error job 1 stalled', 'ai_complete job 2'], 'each end was reported once')
  t.ok(followers.some(({ closes }) => closes > 0))
})

t.test('a stopped process continues after its lease: it carries out a revocation before it delivers anything', options, async (t) => {
  const server = await startRedis(t)
  const [a, b] = await startNodes(t, server, 2) as [NodeProcess, NodeProcess]
  const [revoked, other] = [await Follower.of(t, b, '?userId=u'), await Follower.of(t, b, '?userId=other')]
  await b.start('j')
  b.signal('SIGSTOP')
  for (const n of ['1', '2']) await a.call('broadcastToSession', 's', { type: 'note', n })
  // Once the lease has expired, the others do not wait for its confirmation.
  await until(async () => (await a.attempt('revoke', 'u', 's')).error === undefined)
  await a.call('broadcastToSession', 's', { type: 'note', n: '3' })
  b.signal('SIGCONT')
  await until(() => other.notes.length === 3)
  t.same(other.notes, ['1', '2', '3'], 'nothing is missing')
  t.same(revoked.notes, [], 'the revoked user reads nothing more')
  await b.complete('j')
  t.match(await ended(other.client), { status: 'complete' }, 'its job continues, although it counted as stalled')
})
