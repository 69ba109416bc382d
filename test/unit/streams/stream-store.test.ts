import fc from 'fast-check'
import t from 'tap'
import type { Joined, Position } from '../../../lib/streams/broker.js'
import { pieceOf } from '../../../lib/testing/received.js'
import { report, text } from '../../../lib/testing/reports.js'
import { Library } from '../../support/library.js'

const MINUTE_MS = 60_000
const DAY_MS = 24 * 60 * MINUTE_MS
/** Default time between two sweeps for expired streams. */
const SWEEP_MS = MINUTE_MS / 2

const outcome = ({ recovered, reason, replay }: Joined): string => recovered ? `recovered ${replay.length}` : String(reason)
const bodies = ({ replay }: Joined): string[] => replay.map(({ body }) => String(body))

t.test('messages are kept for five minutes after the latest message', (t) => {
  const library = new Library()
  const since = library.follow('s')
  library.publish('s')
  for (const messages of [1, 2]) {
    library.clock.advance(5 * MINUTE_MS - 1)
    t.equal(outcome(library.ask('s', since)), `recovered ${messages}`, 'each new one renews them all')
    library.publish('s')
  }
  library.clock.advance(5 * MINUTE_MS + SWEEP_MS)
  t.equal(outcome(library.ask('s', since)), 'expired')
  t.equal(library.broker.bytes, 0)
  t.end()
})

t.test('an end and the numbering are kept for a day', (t) => {
  const library = new Library()
  const since = library.publish('s')
  library.publish('s', report('start'), '{"start":1}')
  library.publish('s', text('of the job'), '{"progress":1}')
  const end = library.publish('s', report('complete'), '{"end":1}')
  library.clock.advance(DAY_MS - SWEEP_MS)
  // Within a day, joined by a client that leaves again.
  const late = library.ask('s')
  t.match(late, { ...end, recovered: false, reason: 'new' })
  t.strictSame(late.replay.map((publication) => [publication.body, pieceOf(publication)?.text]), [['{"progress":1}', 'of the job'], ['{"end":1}', undefined]])
  t.equal(outcome(library.ask('s', since)), 'expired', 'the messages have expired')
  t.equal(outcome(library.ask('s', end)), 'recovered 0')
  library.broker.leave('session:s')

  library.clock.advance(DAY_MS - SWEEP_MS)
  t.equal(outcome(library.ask('s', end)), 'recovered 0', 'the day counts from when the last subscriber left')
  library.broker.leave('session:s')
  library.clock.advance(DAY_MS + SWEEP_MS)
  const gone = library.ask('s', end)
  t.match(gone, { seq: 0, recovered: false, reason: 'restarted' })
  t.strictSame(gone.replay, [])
  t.not(gone.epoch, end.epoch, 'so that old numbers can\'t be taken for new ones')
  t.equal(library.broker.bytes, 0)
  t.end()
})

t.test('a progress is discarded at the end of its job', (t) => {
  const bytesAfter = (progress: number): number => {
    const library = new Library()
    library.publish('s', report('start', { jobId: 'j' }))
    for (let i = 0; i < progress; i++) library.publish('s', report('progress', { jobId: 'j' }), 5_000)
    library.publish('s', report('complete', { jobId: 'j' }))
    return library.broker.bytes
  }
  for (const progress of [1, 3]) t.equal(bytesAfter(progress), bytesAfter(0))
  t.end()
})

t.test('all running jobs outlive the messages, but of the ended jobs only the latest', (t) => {
  const library = new Library()
  for (const jobId of ['a', 'b', 'c', 'd']) library.publish('s', report('start', { jobId }), `{"start":"${jobId}"}`)
  for (const jobId of ['a', 'b']) library.publish('s', report('complete', { jobId }), `{"end":"${jobId}"}`)
  const before = library.broker.bytes
  library.clock.advance(5 * MINUTE_MS + SWEEP_MS)
  t.ok(library.broker.bytes < before)
  t.strictSame(bodies(library.ask('s')), ['{"start":"c"}', '{"start":"d"}', '{"end":"b"}'])
  t.match(library.broker.publish('session:s', '{}', report('complete', { jobId: 'a' })), { dropped: 'ended' }, 'the other jobs are remembered as ended')
  t.end()
})

t.test('a stream without subscribers begins a new epoch each time it is created again', (t) => {
  const library = new Library({ ttlMs: 100, endTtlMs: 1000 })
  const epochs = new Set<string>()
  let since = library.publish('one')
  for (let life = 0; life < 5; life++) {
    epochs.add(since.epoch)
    library.clock.advance(1100)
    t.match(library.ask('one', since), { recovered: false, reason: 'restarted', seq: 0 })
    library.broker.leave('session:one')
    since = library.publish('one')
    t.equal(since.seq, 1)
  }
  t.equal(epochs.size, 5)
  t.end()
})

t.test('a stream with subscribers', (t) => {
  t.test('is never forgotten, however old it is: only a client that missed something is not recovered', (t) => {
    const library = new Library()
    const first = library.follow('s')
    const start = library.publish('s', report('start'))
    for (let day = 0; day < 5; day++) library.clock.advance(DAY_MS + SWEEP_MS)
    t.equal(library.broker.bytes, 0, 'its numbers cost nothing')
    t.equal(outcome(library.ask('s', start)), 'recovered 0')
    t.equal(outcome(library.ask('s', first)), 'expired')
    t.strictSame(library.publish('s'), { epoch: start.epoch, seq: 2 })
    t.equal(outcome(library.ask('s', start)), 'recovered 1')
    t.end()
  })

  t.test('keeps its numbering however many streams there are', (t) => {
    const library = new Library({ maxStreams: 2 })
    const positions = Array.from({ length: 50 }, (_, i) => {
      library.follow(String(i))
      return library.publish(String(i))
    })
    for (let i = 0; i < 50; i++) library.publish(`other ${i}`)
    positions.forEach((since, i) => { t.equal(outcome(library.ask(String(i), since)), 'recovered 0') })
    t.end()
  })

  for (const age of ['fresh', 'settled'] as const) {
    t.test(`keeps its running job if there are too many other streams (${age})`, (t) => {
      const library = new Library({ maxStreams: 2 })
      library.follow('s')
      library.publish('s', report('start', { jobId: 'j' }), '{"start":1}')
      if (age === 'settled') library.clock.advance(5 * MINUTE_MS + SWEEP_MS)
      for (let i = 0; i < 50; i++) library.publish(`other ${i}`)
      t.strictSame(bodies(library.ask('s')), ['{"start":1}'], 'to forget it would have made no room')
      t.equal(library.broker.currentJob('session:s'), 'j')
      t.end()
    })
  }

  t.test('does not count towards maxStreams', (t) => {
    const library = new Library({ maxStreams: 2 })
    for (let i = 0; i < 3; i++) {
      library.follow(String(i))
      library.publish(String(i))
    }
    const [one, two] = [library.publish('one'), library.publish('two')]
    t.equal(outcome(library.ask('one', one)), 'recovered 0')
    t.equal(outcome(library.ask('two', two)), 'recovered 0')
    t.end()
  })

  t.test('keeps the epoch that its subscribers got until its first message, whatever is forgotten meanwhile', (t) => {
    // Forgotten streams are counted per hash bucket, and this one is in the bucket of `session:one`. Once it is forgotten, the
    // next epoch of both changes.
    const forgetNeighbour = (library: Library): void => {
      library.publish('neighbour 4052')
      library.publish('so that the neighbour goes')
      library.publish('and one more')
    }
    const library = new Library({ maxStreams: 1 })
    const { epoch } = library.follow('one')
    forgetNeighbour(library)
    t.strictSame(library.publish('one'), { epoch, seq: 1 })
    t.equal(outcome(library.ask('one', { epoch, seq: 0 })), 'recovered 1')

    const control = new Library({ maxStreams: 1 })
    const before = control.follow('one')
    control.broker.leave('session:one')
    forgetNeighbour(control)
    t.not(control.ask('one').epoch, before.epoch, 'they do share a group')
    t.end()
  })
  t.end()
})

t.test('if there are too many streams', (t) => {
  t.test('the least recently published one is forgotten first', (t) => {
    const library = new Library({ maxStreams: 3 })
    const one = library.publish('one')
    const two = library.publish('two')
    const three = library.publish('three')
    const again = library.publish('one')
    t.equal(one.epoch, again.epoch)
    const four = library.publish('four')
    const outcomes = ([['one', again], ['two', two], ['three', three], ['four', four]] as const).map(([name, position]) => {
      const joined = outcome(library.ask(name, position))
      library.broker.leave(`session:${name}`)
      return joined
    })
    t.strictSame(outcomes, ['recovered 0', 'restarted', 'recovered 0', 'recovered 0'])
    t.end()
  })

  t.test('a trimmed stream is forgotten before a fresh one', (t) => {
    const library = new Library({ maxStreams: 2 })
    const old = library.publish('old', report('complete'))
    library.clock.advance(5 * MINUTE_MS + SWEEP_MS)
    const fresh = library.publish('fresh')
    library.publish('one more')
    t.equal(outcome(library.ask('fresh', fresh)), 'recovered 0')
    t.equal(outcome(library.ask('old', old)), 'restarted')
    t.end()
  })
  t.end()
})

t.test('the byte limit of all streams', (t) => {
  t.test('is never exceeded, whatever is published', (t) => {
    const name = fc.integer({ min: 0, max: 9 }).map(String)
    const jobId = fc.constantFrom('a', 'b', 'c')
    const step = fc.oneof(
      { weight: 6, arbitrary: fc.record({ does: fc.constant('publish' as const), name, bytes: fc.integer({ min: 10, max: 5_000 }) }) },
      {
        weight: 3,
        arbitrary: fc.record({
          does: fc.constant('report' as const), event: fc.constantFrom('start' as const, 'complete' as const, 'error' as const), name, jobId,
          presumed: fc.boolean()
        })
      },
      { weight: 3, arbitrary: fc.record({ does: fc.constant('text' as const), name, jobId, units: fc.integer({ min: 0, max: 5_000 }), bytes: fc.integer({ min: 10, max: 5_000 }) }) },
      { weight: 3, arbitrary: fc.record({ does: fc.constant('progress' as const), name, jobId, bytes: fc.integer({ min: 10, max: 5_000 }) }) },
      { weight: 2, arbitrary: fc.record({ does: fc.constant('follow' as const), name }) },
      { weight: 2, arbitrary: fc.record({ does: fc.constant('leave' as const), name }) },
      { weight: 1, arbitrary: fc.record({ does: fc.constant('wait' as const), ms: fc.integer({ min: 1, max: 2_000 }) }) }
    )
    const maxTotalBytes = 20_000
    let most = 0
    fc.assert(fc.property(fc.array(step, { maxLength: 150, size: 'max' }), (steps) => {
      const library = new Library({ maxTotalBytes, ttlMs: 3_000, endTtlMs: 10_000 })
      for (const step of steps) {
        if (step.does === 'publish') library.publish(step.name, undefined, step.bytes)
        else if (step.does === 'text') library.publish(step.name, text('x'.repeat(step.units), step.jobId), step.bytes)
        else if (step.does === 'progress') library.publish(step.name, report('progress', { jobId: step.jobId }), step.bytes)
        else if (step.does === 'report') library.publish(step.name, report(step.event, { jobId: step.jobId, presumed: step.event === 'error' && step.presumed }))
        else if (step.does === 'follow') library.follow(step.name)
        else if (step.does === 'leave') library.broker.leave(`session:${step.name}`)
        else library.clock.advance(step.ms)
        if (library.broker.bytes > maxTotalBytes || library.broker.bytes < 0) return false
        most = Math.max(most, library.broker.bytes)
      }
      for (let i = 0; i < 10; i++) library.broker.leave(`session:${i}`)
      library.clock.advance(20_000)
      // Every counted byte was released, and the sweep has stopped.
      return library.broker.bytes === 0 && library.clock.pending === 0
    }), { numRuns: 200 })
    t.ok(most > maxTotalBytes / 2, 'it was reached')
    t.end()
  })

  t.test('holds while ten times as much is published, and the latest message is kept', (t) => {
    const maxTotalBytes = 8 * 1024 * 1024
    const library = new Library({ maxTotalBytes })
    const positions: Position[] = []
    for (let i = 0; i < 16_000; i++) {
      positions.push(library.publish(`s${i}`, undefined, 1_000))
      library.publish(`s${i}`, undefined, 100)
      if (library.broker.bytes > maxTotalBytes) t.fail('above the ceiling')
    }
    t.ok(library.broker.bytes > maxTotalBytes * 0.9, 'it is used')
    t.equal(outcome(library.ask('s15999', positions[15_999])), 'recovered 1')
    t.equal(outcome(library.ask('s0', positions[0])), 'expired')
    t.end()
  })

  t.test('evicts the messages of the least recently published stream', (t) => {
    const maxTotalBytes = 4 * 1024 * 1024
    const library = new Library({ maxTotalBytes })
    const since = new Map(['a', 'b', 'c'].map((name) => [name, library.follow(name)]))
    for (const name of ['a', 'b', 'c', 'a']) library.publish(name, undefined, 200)
    for (let i = 0; library.broker.bytes < maxTotalBytes - 1_400; i++) library.publish(`other ${i}`)
    t.equal(library.broker.evicted.messages, 0)
    library.publish('c', undefined, 300)
    t.strictSame(['a', 'b', 'c'].map((name) => outcome(library.ask(name, since.get(name)))), ['recovered 2', 'expired', 'recovered 2'])
    t.equal(library.broker.evicted.messages, 1)
    t.end()
  })

  t.test('evicts the ends of jobs last, oldest first', (t) => {
    const library = new Library({ maxTotalBytes: 512 * 1024 })
    const body = (name: string): string => `{"end":"${name}"}`.padEnd(100)
    for (const name of ['a', 'b']) {
      library.follow(name)
      library.publish(name, report('complete'), body(name))
    }
    const ends = (): string[] => ['a', 'b'].flatMap((name) => bodies(library.ask(name))).map((text) => text.trim())
    for (let i = 0; i < 500; i++) library.publish(`chatter ${i}`, undefined, 1_000)
    t.match(library.broker.evicted, { ends: 0 })
    t.strictSame(ends(), ['{"end":"a"}', '{"end":"b"}'], 'all messages are evicted first')
    // Enough ends that one has to be evicted.
    for (let i = 0; library.broker.evicted.ends === 0; i++) library.publish(`another ${i}`, report('complete'), body(String(i)))
    t.strictSame(ends(), ['{"end":"b"}'])
    t.equal(outcome(library.ask('a', { epoch: library.follow('a').epoch, seq: 1 })), 'recovered 0', 'the numbering continues while there are subscribers')
    t.end()
  })

  t.test('excludes a message that exceeds it alone, which is delivered but not kept', (t) => {
    const library = new Library({ maxTotalBytes: 1_000 })
    const since = library.follow('s')
    t.match(library.publish('s', undefined, 5_000), { seq: 1 })
    t.equal(library.deliveries.length, 1)
    t.equal(library.broker.bytes, 0)
    t.equal(outcome(library.ask('s', since)), 'expired')
    t.end()
  })

  t.test('includes the texts of jobs', (t) => {
    const library = new Library({ maxTotalBytes: 1_000_000 })
    library.publish('s', text('x'.repeat(20_000)))
    t.ok(library.broker.bytes > 40_000)
    for (let i = 0; i < 30; i++) {
      library.publish(`s ${i}`, text('x'.repeat(20_000)))
      t.ok(library.broker.bytes <= 1_000_000)
    }
    t.ok(library.broker.evicted.texts > 0)
    t.end()
  })

  t.test('is not filled by the ended jobs of one session', (t) => {
    const library = new Library({ maxMessages: 0 })
    for (let i = 0; i < 40; i++) library.publish('s', report('complete'))
    const { bytes } = library.broker
    for (let i = 0; i < 1_000; i++) library.publish('s', report('complete'), '{"n":"as many"}'.padEnd(20))
    t.ok(library.broker.bytes <= bytes, 'the number of remembered jobs is limited')
    t.end()
  })
  t.end()
})

t.test('the sweep runs only while there are streams', (t) => {
  const library = new Library()
  library.follow('s')
  t.equal(library.clock.pending, 0)
  library.publish('one')
  library.publish('two')
  t.equal(library.clock.pending, 1)
  library.clock.advance(DAY_MS - SWEEP_MS)
  t.equal(library.clock.pending, 1, 'as long as numbers are kept')
  library.clock.advance(SWEEP_MS * 2)
  t.equal(library.clock.pending, 0)
  library.publish('one')
  t.equal(library.clock.pending, 1, 'and from then on again')
  t.end()
})
