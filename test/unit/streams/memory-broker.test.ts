import fc from 'fast-check'
import t from 'tap'
import type { Joined, Position, Stream } from '../../../lib/streams/broker.js'
import { FakeNode } from '../../support/broker-node.js'
import { durable, ephemeral, report } from '../../support/contract-stage.js'
import { FakeClock } from '../../support/fake-clock.js'
import { memoryBroker } from '../../support/memory-broker.js'
import { Library } from '../../support/library.js'

t.test('results and deliveries are synchronous', (t) => {
  const broker = memoryBroker(new FakeClock())
  const node = new FakeNode()
  broker.open(node)
  node.subscribers = 2
  const { revision } = broker.join('user:one')
  t.equal(revision, 0)
  t.match(broker.publish('user:one', '{}', ephemeral), { seq: 0, recipients: 2 })
  t.match(node.deliveries, [{ stream: 'user:one', publication: { body: '{}', durable: false, revision: 1, seq: undefined } }])
  t.equal(node.deliveries.length, 1)
  t.equal(broker.publish('session:s', '{}', report('start', { jobId: 'j' })).jobId, 'j')
  t.equal(broker.currentJob('session:s'), 'j')
  t.equal(broker.control({ type: 'revoke', userId: 'one' }), true)
  t.strictSame(node.controls, [{ type: 'revoke', userId: 'one' }])
  t.end()
})

t.test('without a node, before open and after close, nothing is delivered and nothing fails', (t) => {
  const clock = new FakeClock()
  const broker = memoryBroker(clock)
  t.match(broker.publish('all', '{}', durable), { seq: 1, recipients: 0 })
  t.equal(broker.control({ type: 'revoke', userId: 'one' }), false)
  broker.close()
  t.equal(broker.bytes, 0)
  t.equal(clock.pending, 0, 'and no timer is left')
  t.match(broker.publish('all', '{}', durable), { recipients: 0 })
  t.equal(broker.control({ type: 'revoke', userId: 'one' }), false)
  t.equal(clock.pending, 0)
  t.end()
})

t.test('joining and leaving a stream that was never published to keeps nothing', (t) => {
  const library = new Library({ maxStreams: 1 })
  const one = library.publish('one')
  const { bytes } = library.broker
  for (let i = 0; i < 100; i++) {
    library.broker.join(`session:never ${i}`)
    library.broker.leave(`session:never ${i}`)
  }
  t.equal(library.broker.bytes, bytes)
  t.equal(library.ask('one', one).recovered, true, 'so it took nobody\'s place')
  t.end()
})

t.test('a recovered subscriber gets exactly what it missed, whatever is published, joined, left, expired and evicted', (t) => {
  const name = fc.integer({ min: 0, max: 11 })
  const step = fc.oneof(
    { weight: 6, arbitrary: fc.record({ does: fc.constant('publish' as const), name }) },
    { weight: 2, arbitrary: fc.record({ does: fc.constant('ephemeral' as const), name }) },
    { weight: 3, arbitrary: fc.record({ does: fc.constant('join' as const), name }) },
    { weight: 3, arbitrary: fc.record({ does: fc.constant('leave' as const), name }) },
    { weight: 2, arbitrary: fc.record({ does: fc.constant('wait' as const), name }) }
  )
  const seen = new Map<string, number>()
  fc.assert(fc.property(fc.array(step, { maxLength: 100, size: 'max' }), (steps) => {
    // One stream's share is a message or two, and a message may be too large to keep.
    const maxTotalBytes = 12_000
    const { broker, clock } = new Library({
      maxStreams: 8, ttlMs: 1000, endTtlMs: 3000, maxMessages: 3, maxTotalBytes
    })
    /** All messages of each stream, and each position that was returned with the number of messages at that time. */
    const logs = new Map<Stream, string[]>()
    const told = new Map<Stream, Array<{ position: Position, count: number }>>()
    const followed = new Set<Stream>()
    const logOf = (stream: Stream): string[] => logs.get(stream) ?? []
    const note = (stream: Stream, { epoch, seq }: Position): void => {
      told.set(stream, [...told.get(stream) ?? [], { position: { epoch, seq }, count: logOf(stream).length }])
    }
    const isRight = ({ recovered, reason, replay }: Joined, missed: readonly string[]): boolean => {
      const outcome = recovered ? missed.length > 0 ? 'replayed' : 'up to date' : String(reason)
      seen.set(outcome, (seen.get(outcome) ?? 0) + 1)
      if (!recovered) return replay.length === 0
      return replay.length === missed.length && replay.every(({ body }, at) => body === missed[at])
    }
    for (const [at, { does, name }] of steps.entries()) {
      const stream: Stream = `session:${name}`
      if (does === 'wait') clock.advance(501)
      if (does === 'ephemeral') broker.publish(stream, '{}', ephemeral)
      if (does === 'publish') {
        const body = `{"at":${at}}`.padEnd(at % 7 === 0 ? 100 : 0)
        logs.set(stream, [...logOf(stream), body])
        note(stream, broker.publish(stream, body, durable))
      }
      if (does === 'join') {
        followed.add(stream)
        note(stream, broker.join(stream))
      }
      if (does === 'leave') {
        followed.delete(stream)
        broker.leave(stream)
      }
      if (broker.bytes > maxTotalBytes) return false
      // A join and leave counts as a use, so only some streams are checked.
      if (at % 3 !== 0) continue
      for (const { position, count } of told.get(stream) ?? []) {
        const joined = broker.join(stream, position)
        if (!followed.has(stream)) broker.leave(stream)
        if (!isRight(joined, logOf(stream).slice(count))) return false
      }
      const latest = told.get(stream)?.at(-1)
      // Subscribers that missed nothing are always recovered.
      if (followed.has(stream) && latest?.count === logOf(stream).length && !broker.join(stream, latest.position).recovered) return false
    }
    return true
  }), { numRuns: 300 })
  t.strictSame([...seen.keys()].sort(), ['expired', 'overflow', 'replayed', 'restarted', 'up to date'], 'every outcome occurred')
  t.end()
})
