import t from 'tap'
import { NodeLease } from '../../../lib/redis/node-lease.js'
import type { Lease, Store } from '../../../lib/redis/store.js'
import { FakeClock } from '../../support/fake-clock.js'
import { turn } from '../../support/hand-broker.js'

const LEASE_MS = 30_000

function setUp () {
  const clock = new FakeClock()
  const events: string[] = []
  const renewals: Array<{ resolve: (lease: Lease) => void, reject: (error: Error) => void }> = []
  const store = { lease: () => new Promise<Lease>((resolve, reject) => { renewals.push({ resolve, reject }) }) } as unknown as Store
  const lease = new NodeLease({
    name: 'a', leaseMs: LEASE_MS, clock, store,
    catchUp: () => {
      events.push('catch up')
      return Promise.resolve()
    },
    handle: (channel, message) => { events.push(`${channel} ${message.toString()}`) },
    onDropped: (reason) => { events.push(`dropped: ${reason}`) }
  })
  /** Lets the oldest request for a renewal succeed. */
  const renewed = async (living: string[] = ['a']): Promise<void> => {
    renewals.shift()!.resolve({ living, expired: [], isChecker: false })
    await turn()
  }
  const receive = (n: number): void => { lease.receive('c', Buffer.from(String(n))) }
  return { clock, events, renewals, lease, renewed, receive }
}

t.test('messages wait while the lease has expired, and are handled in their order after what was missed', async (t) => {
  const { clock, events, renewals, lease, renewed, receive } = setUp()
  void lease.renew()
  await renewed(['a', 'b'])
  t.same([...lease.peers], ['b'])
  events.length = 0
  receive(1)
  clock.advance(LEASE_MS + 1)
  receive(2)
  receive(3)
  t.same([events, renewals.length], [['c 1'], 1], 'one renewal is under way')
  await renewed()
  receive(4)
  t.same(events, ['c 1', 'catch up', 'c 2', 'c 3', 'c 4'])
})

t.test('if the lease can\'t be renewed, or too much waits, the messages are dropped, and this is reported', async (t) => {
  const { clock, events, renewals, lease, renewed, receive } = setUp()
  void lease.renew()
  await renewed()
  events.length = 0
  clock.advance(LEASE_MS + 1)
  receive(1)
  renewals.shift()!.reject(new Error('refused'))
  await turn()
  t.same(events, ['dropped: the lease could not be renewed: refused'])
  lease.drop()
  lease.drop()
  t.same(events.slice(1), ['dropped: the lease could not be renewed'], 'there is nothing to drop twice')
  for (const [messages, bytes] of [[10_001, 1], [33, 1024 * 1024]] as const) {
    events.length = 0
    for (let n = 0; n < messages; n++) lease.receive('c', Buffer.alloc(bytes))
    t.same(events, ['dropped: the lease could not be renewed'])
    await renewed()
    t.same(events.length, 1, 'what was dropped is not handled')
    clock.advance(LEASE_MS + 1)
  }
})

t.test('leases are not steady until renewals have come in time for a while', async (t) => {
  const { clock, lease, renewed } = setUp()
  t.equal(lease.isSteady, false)
  const after = async (ms: number): Promise<boolean> => {
    clock.advance(ms)
    void lease.renew()
    await renewed()
    return lease.isSteady
  }
  t.equal(await after(0), false)
  t.equal(await after(9_999), false)
  t.equal(await after(1), true)
  t.equal(await after(20_001), false, 'it was late, and others may have been')
  t.equal(await after(10_000), true)
})

t.test('nodes that join are peers until the next renewal', async (t) => {
  const { lease, renewed } = setUp()
  for (const name of ['a', 'b', 'c']) lease.addPeer(name)
  t.same([...lease.peers], ['b', 'c'])
  void lease.renew()
  await renewed(['a', 'c'])
  t.same([...lease.peers], ['c'])
})
