import t from 'tap'
import { Follower, nodesOptions as options, startNodes, startRedis } from '../../support/redis-nodes.js'
import { until } from '../../support/until.js'

const MIB = 1024 * 1024
/**
 * At most 64 MiB of commands wait for Redis. Node.js, the client library and the broker each have a copy of them, and the collector is
 * late: 1 GB and 3 GB both made the process grow by 700 MiB.
 */
const MAX_GROWTH = 1_200 * MIB
/** Calls wait for 5 seconds at most. The machine may be busy. */
const DEADLINE_MS = 15_000

t.test('Redis hangs while a node publishes 1.5 GB: its memory stays bounded, each call has an outcome in time, and what was accepted arrives once', options, async (t) => {
  const server = await startRedis(t)
  const [node, other] = await startNodes(t, server, 2)
  const follower = await Follower.of(t, other!)
  const before = await node!.call('memory') as number
  server.signal('SIGSTOP')
  t.teardown(() => { server.signal('SIGCONT') })
  let peak = 0
  const state = { isOver: false }
  const flood = (node!.call('flood', 's', 30_000, 50_000) as Promise<{ accepted: number, slowest: number }>).finally(() => { state.isOver = true })
  const watched = (async () => {
    while (!state.isOver) peak = Math.max(peak, await node!.call('memory') as number)
  })()
  const { accepted, slowest } = await flood
  await watched
  t.ok(peak - before < MAX_GROWTH, `the process grew by ${Math.round((peak - before) / MIB)} MiB`)
  t.ok(slowest < DEADLINE_MS, `the slowest call took ${Math.round(slowest)} ms`)
  server.signal('SIGCONT')
  await until(() => node!.isReady())
  await node!.call('broadcastToSession', 's', { type: 'note', n: 'last' })
  await until(() => follower.notes.includes('last'))
  t.equal(new Set(follower.notes).size, follower.notes.length, 'nothing came twice')
  t.ok(follower.notes.length > accepted, `${accepted} of ${follower.notes.length - 1} messages that arrived had been accepted`)
})
