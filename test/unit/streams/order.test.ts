import fc from 'fast-check'
import t from 'tap'
import type { Stream } from '../../../lib/streams/broker.js'
import { StreamStore } from '../../../lib/streams/stream-store.js'
import { defaults } from '../../../lib/options.js'
import { durable, report } from '../../../lib/testing/reports.js'
import { FakeClock } from '../../support/fake-clock.js'
import { fakeLogger } from '../../support/log.js'
import { Library } from '../../support/library.js'

const MINUTE_MS = 60_000
const DAY_MS = 24 * 60 * MINUTE_MS
const SWEEP_MS = MINUTE_MS / 2

/** `left` is trimmed first, and loses its subscriber after that. `later` is trimmed later, and is still less recently used. */
function leaveBetween (bounds?: ConstructorParameters<typeof Library>[0]): Library {
  const library = new Library(bounds)
  library.follow('left')
  library.publish('left', report('complete'), '{"end":"left"}')
  library.clock.advance(6 * MINUTE_MS)
  library.publish('later', report('complete'), '{"end":"later"}')
  library.clock.advance(4 * MINUTE_MS)
  library.broker.leave('session:left')
  library.clock.advance(2 * MINUTE_MS)
  return library
}

/** Memory of a session that keeps only a job's end. */
const END_BYTES = leaveBetween().broker.bytes / 2

t.test('a stream that was left recently does not keep older ones beyond their lifetime', (t) => {
  const library = leaveBetween()
  library.clock.advance(DAY_MS - 6 * MINUTE_MS + SWEEP_MS)
  t.strictSame(library.ask('later').replay, [], 'a day after its end')
  t.equal(library.ask('left').replay.length, 1, 'not a day after it was left')
  t.end()
})

/** Chosen so that a stream's share of the bytes exceeds the size of an end. */
const MANY = 40

/** Ends of other sessions, one more than there is room for beside the two streams. */
function fill (library: Library): void {
  for (let n = 0; n < MANY - 1; n++) library.publish(`other ${n}`, report('complete'), '{"end":"other"}')
}

t.test('under memory pressure the least recently used streams are evicted first', (t) => {
  const library = leaveBetween({ maxTotalBytes: END_BYTES * (MANY + 0.5) })
  fill(library)
  t.equal(library.ask('left').replay.length, 1)
  t.strictSame(library.ask('later').replay, [])

  const crowded = leaveBetween({ maxStreams: 2 })
  crowded.publish('another', report('complete'), '{"end":"another"}')
  t.equal(crowded.ask('left').replay.length, 1)
  t.strictSame(crowded.ask('later').replay, [])
  t.end()
})

t.test('the order holds for two streams used at the same time', (t) => {
  const library = new Library({ maxTotalBytes: END_BYTES * (MANY + 0.5) })
  library.follow('left')
  library.publish('left', report('complete'), '{"end":"left"}')
  library.clock.advance(6 * MINUTE_MS)
  library.broker.leave('session:left')
  library.publish('later', report('complete'), '{"end":"later"}')
  fill(library)
  t.strictSame(library.ask('left').replay, [])
  t.equal(library.ask('later').replay.length, 1)
  t.end()
})

t.test('nothing outlives its lifetime by more than one sweep, or is evicted early without need, whatever happens', (t) => {
  const name = fc.integer({ min: 0, max: 5 })
  const step = fc.oneof(
    { weight: 4, arbitrary: fc.record({ does: fc.constant('publish' as const), name }) },
    { weight: 3, arbitrary: fc.record({ does: fc.constant('follow' as const), name }) },
    { weight: 3, arbitrary: fc.record({ does: fc.constant('leave' as const), name }) },
    { weight: 4, arbitrary: fc.record({ does: fc.constant('wait' as const), ms: fc.integer({ min: 1, max: 1_500 }) }) }
  )
  const ttlMs = 1_000
  const endTtlMs = 3_000
  fc.assert(fc.property(fc.array(step, { maxLength: 100, size: 'max' }), fc.constantFrom(2_000, Infinity), fc.constantFrom(3, 100), (steps, maxTotalBytes, maxStreams) => {
    const clock = new FakeClock()
    const streams = new StreamStore({ ...defaults.history, maxTextUnits: 1_000, clock, log: fakeLogger(), ttlMs, endTtlMs, maxTotalBytes, maxStreams })
    const touched = new Map<Stream, { published: number, left: number }>()
    const followed = new Set<Stream>()
    const wide = maxTotalBytes === Infinity && maxStreams === 100
    for (const step of steps) {
      if (step.does === 'wait') {
        clock.advance(step.ms)
      } else {
        const stream = `session:${step.name}` as const
        const of = touched.get(stream)
        if (step.does === 'publish') {
          touched.set(stream, { published: clock.monotonic(), left: -Infinity })
          streams.update(stream, (state) => state.publish('{"some":"thing"}', durable))
        } else if (step.does === 'follow') {
          followed.add(stream)
          streams.join(stream, undefined)
        } else if (followed.delete(stream)) {
          streams.unsubscribe(stream)
          if (of !== undefined) of.left = clock.monotonic()
        }
      }
      const now = clock.monotonic()
      for (const [stream, { published, left }] of touched) {
        const idleMs = now - Math.max(published, left)
        if (streams.find(stream) !== undefined) {
          if (!followed.has(stream) && idleMs >= endTtlMs + ttlMs / 10) return false
          continue
        }
        // Until a stream is trimmed, its lifetime counts from its latest message.
        if (followed.has(stream) || (wide && now - published < endTtlMs)) return false
        touched.delete(stream)
      }
    }
    return true
  }), { numRuns: 500 })
  t.end()
})
