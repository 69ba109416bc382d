import fc from 'fast-check'
import t from 'tap'
import type { Position, Stream } from '../../../lib/broker/broker.js'
import { MemoryBroker, type MemoryBrokerOptions } from '../../../lib/broker/memory.js'
import { FakeNode } from '../../support/broker-node.js'
import { FakeClock } from '../../support/fake-clock.js'

const DAY_MS = 86_400_000
const durable = { durable: true }

function start (options: Omit<MemoryBrokerOptions, 'clock'> = {}): {
  broker: MemoryBroker, clock: FakeClock, node: FakeNode
  publish: (name: string) => Position, remembers: (name: string, position: Position) => boolean
} {
  const clock = new FakeClock()
  const broker = new MemoryBroker({ clock, ...options })
  const node = new FakeNode()
  broker.open(node)
  return {
    broker,
    clock,
    node,
    publish: (name) => {
      const { epoch, seq } = broker.publish(`session:${name}`, '{}', durable)
      return { epoch, seq }
    },
    /** Whether a reader who was there is recovered. It does not stay, and the stream is idle from then on. */
    remembers: (name, position) => {
      const { recovered } = broker.join(`session:${name}`, position)
      broker.leave(`session:${name}`)
      return recovered
    }
  }
}

t.test('answers are there at once, and so are deliveries', (t) => {
  const { broker, node } = start()
  node.followers = 2
  const { revision } = broker.join('user:one')
  t.equal(revision, 0)
  t.match(broker.publish('user:one', '{}', { durable: false, collapseKey: 'k' }), { seq: 0, recipients: 2 })
  t.strictSame(node.deliveries, [
    { stream: 'user:one', publication: { body: '{}', durable: false, collapseKey: 'k', revision: 1 } }
  ])
  broker.control({ type: 'revoke', userId: 'one' })
  t.strictSame(node.orders, [{ type: 'revoke', userId: 'one' }])
  t.end()
})

t.test('a position behind the head is expired, since nothing is kept', (t) => {
  const { broker, publish } = start()
  const since = publish('one')
  publish('one')
  t.match(broker.join('session:one', since), { seq: 2, recovered: false, reason: 'expired', missed: [], state: [] })
  t.end()
})

t.test('without a node, before it is opened and after its close, nothing is delivered and nothing fails', (t) => {
  const broker = new MemoryBroker({ clock: new FakeClock() })
  t.match(broker.publish('all', '{}', durable), { seq: 1, recipients: 0 })
  broker.control({ type: 'revoke', userId: 'one' })
  broker.close()
  t.match(broker.publish('all', '{}', durable), { recipients: 0 })
  broker.control({ type: 'revoke', userId: 'one' })
  t.end()
})

t.test('a stream that nobody follows', (t) => {
  t.test('is remembered for a day after its last message, and forgotten when others come', (t) => {
    const { clock, publish, remembers } = start()
    const first = publish('one')
    clock.advance(DAY_MS)
    publish('two')
    t.ok(remembers('one', first), 'a day is not past')
    const second = publish('one')
    t.strictSame(second, { epoch: first.epoch, seq: 2 })
    clock.advance(DAY_MS + 1)
    publish('three')
    t.notOk(remembers('one', second))
    t.end()
  })

  t.test('begins a new epoch when it comes back, so that old numbers can\'t be taken for new ones', (t) => {
    const { broker, clock, publish } = start({ headTtlMs: 1000 })
    const epochs = new Set<string>()
    let since = publish('one')
    for (let life = 0; life < 5; life++) {
      epochs.add(since.epoch)
      clock.advance(1001)
      publish(`other ${life}`)
      t.match(broker.join('session:one', since), { recovered: false, reason: 'restarted', seq: 0 })
      broker.leave('session:one')
      since = publish('one')
      t.equal(since.seq, 1)
    }
    t.equal(epochs.size, 5)
    t.end()
  })

  t.test('is forgotten first where its last message is the oldest and there are too many', (t) => {
    const { publish, remembers } = start({ maxHeads: 3 })
    const one = publish('one')
    const two = publish('two')
    const three = publish('three')
    const oneAgain = publish('one')
    t.equal(one.epoch, oneAgain.epoch)
    const four = publish('four')
    t.notOk(remembers('two', two))
    for (const [name, position] of [['one', oneAgain], ['three', three], ['four', four]] as const) t.ok(remembers(name, position), name)
    t.end()
  })

  t.test('leaves nothing behind when it was never published to', (t) => {
    const { broker, publish, remembers } = start({ maxHeads: 1 })
    const one = publish('one')
    for (let i = 0; i < 100; i++) {
      broker.join(`session:never ${i}`)
      broker.leave(`session:never ${i}`)
    }
    t.ok(remembers('one', one), 'so it took nobody\'s place')
    t.end()
  })

  t.test('costs a publication few steps, however many are due', (t) => {
    const leftAfter = (publications: number): number => {
      const { broker, clock, publish } = start({ headTtlMs: 1000 })
      const old = Array.from({ length: 100 }, (_, i) => publish(`old ${i}`))
      clock.advance(1001)
      for (let i = 0; i < publications; i++) publish(`new ${i}`)
      return old.filter((position, i) => broker.join(`session:old ${i}`, position).recovered).length
    }
    t.equal(leftAfter(0), 100)
    t.ok(leftAfter(1) < 100 && leftAfter(1) >= 90)
    t.equal(leftAfter(20), 0)
    t.end()
  })
  t.end()
})

t.test('a stream that is followed', (t) => {
  t.test('is never forgotten, however old it is', (t) => {
    const { broker, clock, publish } = start({ headTtlMs: 1000 })
    broker.join('session:one')
    const since = publish('one')
    for (let i = 0; i < 5; i++) {
      clock.advance(1001)
      publish(`other ${i}`)
    }
    t.match(broker.join('session:one', since), { recovered: true })
    t.end()
  })

  t.test('is never forgotten, however many there are', (t) => {
    const { broker, publish } = start({ maxHeads: 2 })
    const positions = Array.from({ length: 50 }, (_, i) => {
      broker.join(`session:${i}`)
      return publish(String(i))
    })
    for (let i = 0; i < 50; i++) publish(`other ${i}`)
    positions.forEach((since, i) => t.match(broker.join(`session:${i}`, since), { recovered: true }))
    t.end()
  })

  t.test('takes no place away from those that are not', (t) => {
    const { broker, publish, remembers } = start({ maxHeads: 2 })
    for (let i = 0; i < 3; i++) {
      broker.join(`session:${i}`)
      publish(String(i))
    }
    const one = publish('one')
    const two = publish('two')
    t.ok(remembers('one', one))
    t.ok(remembers('two', two))
    t.end()
  })

  t.test('is remembered from then on when its last follower goes', (t) => {
    const { broker, clock, publish, remembers } = start({ headTtlMs: 1000 })
    broker.join('session:one')
    const since = publish('one')
    clock.advance(5000)
    broker.leave('session:one')
    clock.advance(1000)
    publish('two')
    t.ok(remembers('one', since))
    clock.advance(1001)
    publish('three')
    t.notOk(remembers('one', since))
    t.end()
  })

  t.test('keeps the epoch that its followers were told until its first message, whatever is forgotten meanwhile', (t) => {
    // Lives are counted for groups of streams, and this is one in the group of `session:one`: when it is forgotten, the
    // next epoch of both is another one.
    const neighbour = 'neighbour 4052'
    const forgetNeighbour = (publish: (name: string) => Position): void => {
      publish(neighbour)
      publish('so that the neighbour goes')
    }
    const { broker, publish } = start({ maxHeads: 1 })
    const { epoch } = broker.join('session:one')
    forgetNeighbour(publish)
    t.strictSame(publish('one'), { epoch, seq: 1 })
    t.match(broker.join('session:one', { epoch, seq: 1 }), { recovered: true })

    const control = start({ maxHeads: 1 })
    const before = control.broker.join('session:one')
    control.broker.leave('session:one')
    forgetNeighbour(control.publish)
    t.not(control.broker.join('session:one').epoch, before.epoch, 'they do share a group')
    t.end()
  })
  t.end()
})

t.test('whatever is published, followed, left and forgotten, nobody is told to have missed nothing when something was', (t) => {
  const name = fc.integer({ min: 0, max: 5 })
  const step = fc.oneof(
    fc.record({ does: fc.constant('publish' as const), name }),
    fc.record({ does: fc.constant('join' as const), name }),
    fc.record({ does: fc.constant('leave' as const), name }),
    fc.record({ does: fc.constant('wait' as const), name })
  )
  fc.assert(fc.property(fc.array(step, { maxLength: 100, size: 'max' }), (steps) => {
    const { broker, clock, publish } = start({ maxHeads: 2, headTtlMs: 1000 })
    /** How many messages each stream ever had, and each position that was ever told with how many there were then. */
    const counts = new Map<Stream, number>()
    const told = new Map<Stream, Array<{ position: Position, count: number }>>()
    const followed = new Set<Stream>()
    const note = (stream: Stream, { epoch, seq }: Position): void => {
      const positions = told.get(stream) ?? []
      positions.push({ position: { epoch, seq }, count: counts.get(stream) ?? 0 })
      told.set(stream, positions)
    }
    for (const { does, name } of steps) {
      const stream: Stream = `session:${name}`
      if (does === 'wait') clock.advance(501)
      if (does === 'publish') {
        counts.set(stream, (counts.get(stream) ?? 0) + 1)
        note(stream, publish(String(name)))
      }
      if (does === 'join') {
        followed.add(stream)
        note(stream, broker.join(stream))
      }
      if (does === 'leave') {
        followed.delete(stream)
        broker.leave(stream)
      }
      for (const { position, count } of told.get(stream) ?? []) {
        const { recovered } = broker.join(stream, position)
        if (!followed.has(stream)) broker.leave(stream)
        if (recovered && count !== (counts.get(stream) ?? 0)) return false
      }
      const latest = told.get(stream)?.at(-1)
      // Those who follow are recovered in any case.
      if (followed.has(stream) && latest !== undefined && !broker.join(stream, latest.position).recovered) return false
    }
    return true
  }))
  t.end()
})
