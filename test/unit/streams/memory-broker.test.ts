import fc from 'fast-check'
import t from 'tap'
import type { Joined, Position, Stream } from '../../../lib/streams/broker.js'
import { RecordingNode } from '../../../lib/testing/recording-node.js'
import { durable, ephemeral, report } from '../../../lib/testing/reports.js'
import { FakeClock } from '../../support/fake-clock.js'
import { memoryBroker } from '../../support/memory-broker.js'
import { Library } from '../../support/library.js'

t.test('results and deliveries are synchronous', (t) => {
  const broker = memoryBroker(new FakeClock())
  const node = new RecordingNode()
  broker.open(node)
  node.subscribers = 2
  const { revision } = broker.join('user:one')
  t.equal(revision, 0)
  t.match(broker.publish('user:one', '{}', ephemeral), { seq: 0, recipients: 2 })
  t.match(node.received('user:one'), [{ body: '{}', durable: false, revision: 1, seq: undefined }])
  t.equal(node.events.length, 1)
  t.equal(broker.publish('session:s', '{}', report('start', { jobId: 'j' })).jobId, 'j')
  t.equal(broker.currentJob('session:s'), 'j')
  broker.revoke({ userId: 'one' })
  t.strictSame(node.revocations, [{ userId: 'one' }])
  t.equal(broker.adopt('session:s', 'j'), true)
  t.equal(broker.release('session:s', 'j'), true)
  t.equal(broker.release('session:s', 'other'), false)
  t.equal(broker.adopt('session:other', 'j'), false)
  t.end()
})

t.test('before open and after close, every call but leave throws, and nothing is kept', (t) => {
  const clock = new FakeClock()
  const broker = memoryBroker(clock)
  const node = new RecordingNode()
  const calls = [
    () => broker.publish('all', '{}', durable), () => broker.join('session:s'), () => broker.currentJob('session:s'), () => broker.adopt('session:s', 'j'),
    () => broker.release('session:s', 'j'), () => { broker.revoke({ userId: 'one' }) }, () => broker.cancel('session:s', 'j')
  ]
  const allThrow = (): void => {
    for (const call of calls) t.throws(call, { message: 'the broker is not open' })
    broker.leave('session:s')
    t.equal(broker.bytes, 0)
    t.same(new Set(Object.values(broker.evicted)), new Set([0]))
  }
  allThrow()
  broker.close()
  broker.open(node)
  broker.join('session:s')
  broker.publish('session:s', '{}', durable)
  t.not(broker.bytes, 0)
  broker.close()
  allThrow()
  t.equal(clock.pending, 0, 'and no timer is left')
  t.equal(node.events.length, 1)
  t.end()
})

t.test('the results of the newest 64 repeatable publications are remembered', (t) => {
  const broker = memoryBroker(new FakeClock())
  const node = new RecordingNode()
  broker.open(node)
  broker.join('session:s')
  const publish = (counter: number): number => broker.publish('session:s', '{}', { durable: true, counter }).seq
  for (let counter = 1; counter <= 65; counter++) t.equal(publish(counter), counter)
  t.equal(publish(2), 2)
  t.equal(publish(65), 65)
  t.equal(publish(1), 66, 'an older one is published again')
  t.equal(node.events.length, 66)
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
        const joined = broker.join(stream, { since: position })
        if (!followed.has(stream)) broker.leave(stream)
        if (!isRight(joined, logOf(stream).slice(count))) return false
      }
      const latest = told.get(stream)?.at(-1)
      // Subscribers that missed nothing are always recovered.
      if (followed.has(stream) && latest?.count === logOf(stream).length && !broker.join(stream, { since: latest.position }).recovered) return false
    }
    return true
  }), { numRuns: 300 })
  t.strictSame([...seen.keys()].sort(), ['expired', 'overflow', 'replayed', 'restarted', 'up to date'], 'every outcome occurred')
  t.end()
})
