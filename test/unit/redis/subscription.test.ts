import t from 'tap'
import { parseFrame, type Frame } from '../../../lib/redis/frame.js'
import { Subscription } from '../../../lib/redis/subscription.js'
import type { Joined } from '../../../lib/streams/broker.js'
import { FakeClock } from '../../support/fake-clock.js'

function frame (revision: number, epoch = 'e'): Frame {
  return parseFrame(Buffer.from(`${epoch} ${revision} ${revision} 2 1 0 0 0 0 0\n{}`))
}

function joined (revision: number, epoch = 'e'): Joined {
  return { epoch, seq: revision, revision, recovered: false, reason: 'new', replay: [] }
}

function setUp () {
  const clock = new FakeClock()
  const events: string[] = []
  const subscription = new Subscription('session:s', 1_000, clock, {
    deliver: (_stream, { revision }) => events.push(`deliver ${revision}`),
    onGap: () => { events.push('gap') },
    onNewEpoch: (one, epoch) => {
      events.push(`epoch ${epoch}`)
      one.restart()
    }
  })
  return { clock, events, subscription }
}

t.test('messages that arrive before the join wait, those that it covers are skipped, and a gap makes the others wait', (t) => {
  const { events, subscription } = setUp()
  for (const revision of [1, 2, 3]) subscription.receive(frame(revision))
  t.equal(subscription.isWaiting, true)
  t.equal(subscription.joined(joined(2)), true)
  subscription.receive(frame(3))
  t.equal(subscription.isWaiting, false)
  subscription.receive(frame(5))
  t.equal(subscription.isWaiting, true)
  subscription.resume({ ...joined(4), replay: [{ body: '{}', durable: true, revision: 4, seq: 4 }] })
  t.same(events, ['deliver 3', 'gap', 'deliver 4', 'deliver 5'])
  subscription.resume(joined(9))
  t.same(subscription.position, { epoch: 'e', seq: 5 }, 'it was not waiting any more')
  t.end()
})

t.test('of very many messages that wait, the oldest are found to be missing', (t) => {
  const { events, subscription } = setUp()
  for (let revision = 1; revision <= 10_001; revision++) subscription.receive(frame(revision))
  subscription.joined(joined(0))
  t.same(events, ['gap'])
  t.end()
})

t.test('who waits for a revision is told when it is delivered, after a time, or that it can\'t be known', async (t) => {
  const { clock, subscription } = setUp()
  subscription.joined(joined(0))
  t.equal(await subscription.reached(0, 1_000), true)
  const [first, second, third] = [subscription.reached(1, 1_000), subscription.reached(2, 1_000), subscription.reached(3, 5_000)]
  subscription.receive(frame(1))
  t.equal(await first, true)
  clock.advance(1_000)
  t.equal(await second, false)
  subscription.suspend()
  t.equal(await third, false)
  t.equal(clock.pending, 0)
})

t.test('after a loss of history, a join that is not needed any more changes nothing', (t) => {
  const { events, subscription } = setUp()
  subscription.joined(joined(1))
  subscription.rebase(joined(5, 'f'))
  t.same(subscription.position, { epoch: 'e', seq: 1 })
  t.equal(subscription.restart(), true)
  t.equal(subscription.restart(), false)
  subscription.receive(frame(2, 'f'))
  subscription.receive(frame(3, 'f'))
  subscription.receive(frame(9, 'e'))
  subscription.rebase(joined(2, 'f'))
  t.same(events, ['deliver 2', 'deliver 3'])
  t.equal(subscription.joined(joined(3, 'f')), true)
  t.equal(subscription.joined(joined(4, 'f')), false, 'it is not delivered yet')
  t.equal(subscription.joined(joined(1, 'g')), true, 'a new epoch is noticed by a join, too')
  t.same(events.slice(2), ['epoch g'])
  t.end()
})

t.test('a replayed text that is shorter than what this node has is another one', (t) => {
  const { subscription } = setUp()
  subscription.joined(joined(1))
  const [header, text] = ['e 2 1 0 12 1 0 4 0 8\nj', Buffer.from('long', 'utf16le')]
  subscription.receive(parseFrame(Buffer.concat([Buffer.from(header), text, Buffer.from('{"progress":{}}')])))
  t.same([...subscription.texts], [['j', 4]])
  subscription.hold()
  const source = { end: 2, units: 2, slice: (from: number, to = 2) => ({ text: 'ab'.slice(from, to), offset: from, truncated: false }) }
  const progress = (revision: number, jobId: string) => ({ body: '{"progress":{}}', durable: false, revision, jobId, text: { source, from: 0, to: 2 } })
  subscription.resume({ ...joined(4), replay: [progress(3, 'j'), progress(4, 'new')] })
  t.same([...subscription.texts], [['j', 2], ['new', 2]])
  t.end()
})
