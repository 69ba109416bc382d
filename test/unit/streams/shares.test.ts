import fc from 'fast-check'
import t from 'tap'
import type { Joined, PublishOptions } from '../../../lib/streams/broker.js'
import type { Transition } from '../../../lib/streams/session-jobs.js'
import { bodies, numbered, pieceOf } from '../../../lib/testing/received.js'
import { durable, report, text } from '../../../lib/testing/reports.js'
import { Library } from '../../support/library.js'

// The shares of maxTotalBytes that one message and one stream may keep.

const MIB = 1024 * 1024
const MAX_TOTAL = 16 * MIB
const MESSAGE = MAX_TOTAL / 16
const STREAM = MAX_TOTAL / 8

/** A JSON body of a given number of bytes. */
function ballast (bytes: number, name = 'ballast'): string {
  return JSON.stringify({ name, ballast: 'x'.repeat(bytes) })
}

/** A report with a short form, and how often the short form was made. */
function withShortForm (event: Transition['event'], jobId: string, name = `short form of ${event}`): PublishOptions & { asked: () => number } {
  let asked = 0
  const shortForm = (): string => {
    asked++
    return `{"name":"${name}"}`
  }
  return { ...report(event, { jobId }), shortForm, asked: () => asked }
}

function namesOf (joined: Joined): string[] {
  return bodies(joined).map((body) => (JSON.parse(body) as { name: string }).name)
}

/** Sessions whose results are kept for late subscribers. */
function withEnds (count = 200, bounds: ConstructorParameters<typeof Library>[0] = {}): Library & { ends: () => number } {
  const library = new Library({ maxTotalBytes: MAX_TOTAL, ...bounds })
  for (let n = 0; n < count; n++) library.publish(`waiting ${n}`, report('complete'), '{"name":"end"}')
  const ends = (): number => Array.from({ length: count }, (_, n) => library.ask(`waiting ${n}`).replay.length).reduce((sum, length) => sum + length, 0)
  return Object.assign(library, { ends })
}

t.test('an end that is too large is kept as its short form, in its place, and evicts nothing of other sessions', (t) => {
  const library = withEnds()
  const first = library.publish('s', durable, '{"name":"before"}')
  const options = withShortForm('complete', 'j')
  library.follow('s')
  const published = library.broker.publish('session:s', ballast(17 * MIB), options)
  t.match(published, { seq: 2, jobId: 'j', kept: false })
  t.equal(library.deliveries.at(-1)?.publication.body.length, ballast(17 * MIB).length, 'current subscribers get all of it')
  t.equal(options.asked(), 1)
  t.strictSame(numbered(library.ask('s').replay), [[2, '{"name":"short form of complete"}']])
  t.match(library.ask('s').replay, [{ jobId: 'j', durable: true }])
  const back = library.ask('s', first)
  t.match([back.recovered, numbered(back.replay)], [true, [[2, '{"name":"short form of complete"}']]], 'a reconnecting client is recovered')
  t.equal(library.ends(), 200)
  t.strictSame(library.broker.evicted, { messages: 0, starts: 0, texts: 0, ends: 0, shortened: 1, streams: 0 })
  t.end()
})

t.test('a real end that is kept as a short form supersedes a presumed one', (t) => {
  const library = withEnds(0)
  library.publish('s', report('error', { jobId: 'j', presumed: true }), '{"name":"stalled"}')
  library.publish('s', withShortForm('complete', 'j'), ballast(2 * MIB))
  t.match(library.ask('s').replay, [{ body: '{"name":"short form of complete"}', supersedes: true }])
  t.end()
})

t.test('an end that is large, but not too large, is kept in full', (t) => {
  const library = withEnds()
  const published = library.broker.publish('session:s', ballast(MESSAGE / 4), withShortForm('complete', 'j'))
  t.notOk('kept' in published)
  t.strictSame(namesOf(library.ask('s')), ['ballast'])
  t.equal(library.ends(), 200)
  t.end()
})

t.test('no short form is made of a small end', (t) => {
  const options = withShortForm('complete', 'j')
  new Library().publish('s', options, '{"name":"small"}')
  t.equal(options.asked(), 0)
  t.end()
})

t.test('an end that is too large and has no short form is not kept, and publish says so', (t) => {
  const library = withEnds()
  const since = library.publish('s')
  t.match(library.broker.publish('session:s', ballast(2 * MIB), report('complete')), { kept: false })
  t.match(library.ask('s', since), { recovered: false, reason: 'expired', replay: [] })
  t.match(library.broker.evicted, { messages: 2, shortened: 0 })
  t.end()
})

t.test('a start that is too large is kept as its short form for as long as the job runs', (t) => {
  const library = withEnds()
  t.match(library.broker.publish('session:s', ballast(2 * MIB), withShortForm('start', 'j')), { kept: false })
  t.strictSame(namesOf(library.ask('s')), ['short form of start'])
  library.publish('s', report('complete', { jobId: 'j' }), '{"name":"end"}')
  t.strictSame(namesOf(library.ask('s')), ['end'])
  t.end()
})

t.test('a progress that is too large is kept as its short form, with all of the text', (t) => {
  const library = withEnds()
  library.publish('s', text('Hello', 'j'), '{"name":"1"}')
  t.notOk('kept' in library.broker.publish('session:s', ballast(2 * MIB), { ...withShortForm('progress', 'j'), delta: ', world' }), 'a progress has no seq')
  const [progress] = library.ask('s').replay
  t.equal(progress?.body, '{"name":"short form of progress"}')
  t.match(pieceOf(progress!), { text: 'Hello, world', offset: 0, truncated: false })
  t.ok(library.broker.bytes < 200 * 3_000)
  library.publish('s', text('!', 'j'), '{"name":"3"}')
  t.strictSame(namesOf(library.ask('s')), ['3'])
  t.strictSame(namesOf((() => {
    library.publish('t', report('progress', { jobId: 'j' }), ballast(2 * MIB))
    return library.ask('t')
  })()), [], 'without one there is none to be sent')
  t.end()
})

t.test('an app message that is too large is not kept, and a client that missed it is not recovered', (t) => {
  for (const bounds of [{}, { maxBytes: 8 * MIB, maxTotalBytes: MAX_TOTAL }]) {
    const library = withEnds(200, bounds)
    const since = library.publish('s')
    library.publish('s')
    const published = library.broker.publish('session:s', ballast(MESSAGE / 2), durable)
    t.match(published, { seq: 3, kept: false })
    t.match(library.ask('s', since), { recovered: false, reason: 'expired' })
    t.match(library.ask('s', published), { recovered: true, replay: [] })
    t.equal(library.broker.evicted.messages, 3, 'with those before it')
    library.publish('s')
    t.match(library.ask('s', published), { recovered: true, replay: { length: 1 } })
    t.equal(library.ends(), 200)
  }
  t.end()
})

t.test('a stream that keeps no messages evicts none', (t) => {
  const library = new Library({ maxMessages: 0 })
  t.match(library.broker.publish('session:s', '{}', durable), { kept: false })
  t.match(library.broker.publish('session:s', ballast(2 * MIB), durable), { kept: false })
  t.notOk('kept' in library.broker.publish('session:s', '{}', report('start')), 'the state of a job is kept')
  t.equal(library.broker.evicted.messages, 0)
  t.end()
})

t.test('an ended job no longer keeps its start', (t) => {
  const bytesOf = (prompt: number): number => {
    const library = new Library()
    library.publish('s', report('start', { jobId: 'j' }), ballast(prompt))
    library.publish('s', report('error', { jobId: 'j', presumed: prompt % 2 === 1 }), '{"name":"end"}')
    library.clock.advance(6 * 60_000)
    t.strictSame(namesOf(library.ask('s')), ['end'])
    return library.broker.bytes
  }
  t.equal(bytesOf(32_768), bytesOf(0))
  t.equal(bytesOf(32_767), bytesOf(1), 'also where the end was only presumed')
  t.end()
})

t.test('jobs with long prompts, failed or running, evict no other session\'s result', (t) => {
  for (const fails of [true, false]) {
    const library = withEnds()
    for (let n = 0; n < 600; n++) {
      library.publish(`prompt ${n}`, withShortForm('start', 'j'), ballast(32_768))
      if (fails) library.publish(`prompt ${n}`, report('error', { jobId: 'j' }), '{"name":"end"}')
    }
    t.ok(library.broker.bytes <= MAX_TOTAL)
    t.equal(library.ends(), 200)
    t.ok(Array.from({ length: 600 }, (_, n) => library.ask(`prompt ${n}`).replay.length).every((length) => length === 1), 'nor their own')
    t.match(library.broker.evicted, { ends: 0, streams: 0 })
  }
  t.end()
})

t.test('one session takes no more than its share', (t) => {
  const cases: Record<string, (library: Library, n: number) => void> = {
    'with many running jobs and their texts': (library, n) => { library.publish('s', text('x'.repeat(50_000), String(n))) },
    'with many running jobs and their prompts': (library, n) => { library.publish('s', withShortForm('start', String(n)), ballast(32_768)) },
    'with very many running jobs': (library, n) => { for (let m = 0; m < 60; m++) library.publish('s', report('start', { jobId: `${n} ${m}` })) },
    'with large ends of many jobs': (library, n) => { library.publish('s', withShortForm('complete', String(n)), ballast(150_000)) },
    'with the texts of many ended jobs': (library, n) => {
      library.publish('s', text('x'.repeat(50_000), String(n)))
      library.publish('s', report('complete', { jobId: String(n) }), '{"name":"end"}')
    },
    'with the texts of many jobs that are presumed to have ended': (library, n) => {
      library.publish('s', text('x'.repeat(50_000), String(n)))
      library.publish('s', report('error', { jobId: String(n), presumed: true }), '{"name":"end"}')
      library.publish('s', text('x'.repeat(50_000), String(n)))
    },
    'with one long text': (library) => { library.publish('s', text('x'.repeat(50_000), 'j')) },
    'with messages': (library) => { library.publish('s', durable, 50_000) }
  }
  for (const [kind, publish] of Object.entries(cases)) {
    const library = withEnds(200, { maxBytes: Infinity, maxTextUnits: Infinity })
    const { bytes } = library.broker
    for (let n = 0; n < 100; n++) {
      publish(library, n)
      if (library.broker.bytes > bytes + STREAM) t.fail(`${kind}: more than its share`)
    }
    t.ok(library.broker.bytes > bytes + STREAM / 8, `${kind}: it is used`)
    t.equal(library.ends(), 200, kind)
    t.ok(library.ask('s').replay.length <= 6_000)
  }
  t.end()
})

t.test('nothing is kept of a session\'s jobs that no client can be sent', (t) => {
  const library = new Library()
  for (let n = 0; n < 20; n++) library.publish('s', withShortForm('complete', String(n)), ballast(500_000))
  t.ok(library.broker.bytes < 4 * 500_000, 'one end, since each is too large for the messages')
  t.strictSame(namesOf(library.ask('s')), ['ballast'])
  const ring = new Library({ maxMessages: 2 })
  const bytesAfter = (count: number): number => {
    for (let n = 0; n < count; n++) ring.publish('s', report('complete', { jobId: `job ${n}`.padEnd(8) }), ballast(3_000))
    return ring.broker.bytes
  }
  t.ok(bytesAfter(10) - bytesAfter(5) <= 0, 'with each message goes what its job left')
  t.end()
})

t.test('an evicted text continues at its offset, and is marked as truncated', (t) => {
  const library = withEnds(0)
  for (let n = 0; n < 30; n++) library.publish('s', text('x'.repeat(50_000), String(n)), '{"name":"p"}')
  const pieces = library.ask('s').replay.map((publication) => pieceOf(publication)!)
  t.equal(pieces.length, 30)
  for (const { text, offset, truncated } of pieces) t.strictSame([offset + text.length, truncated], [50_000, offset > 0])
  t.ok(pieces.some(({ truncated }) => truncated) && pieces.some(({ truncated }) => !truncated))
  t.equal(library.broker.evicted.texts, pieces.filter(({ truncated }) => truncated).length)
  t.end()
})

t.test('the largest streams are evicted first, and small ones keep everything', (t) => {
  const library = withEnds()
  const since = library.publish('small', durable, '{"name":"kept"}').epoch
  library.publish('small', text('a short text', 'j'), '{"name":"p"}')
  library.publish('running', withShortForm('start', 'j'), ballast(5_000))
  for (let n = 0; n < 20; n++) {
    library.publish(`text ${n}`, text('x'.repeat(400_000), 'j'), '{"name":"p"}')
    library.publish(`end ${n}`, withShortForm('complete', 'j'), ballast(190_000))
    library.publish(`messages ${n}`, durable, 200_000)
    t.ok(library.broker.bytes <= MAX_TOTAL)
  }
  t.equal(library.ends(), 200)
  const small = library.ask('small', { epoch: since, seq: 0 })
  t.match(small, { recovered: true, replay: { length: 2 } })
  t.match(pieceOf(small.replay[1]!), { text: 'a short text', truncated: false })
  t.strictSame(namesOf(library.ask('running')), ['ballast'])
  const kept = new Set(Array.from({ length: 20 }, (_, n) => namesOf(library.ask(`end ${n}`)).join()))
  t.strictSame([...kept].sort(), ['ballast', 'short form of complete'], 'a large end is reduced to its short form')
  const { texts, shortened, messages, ends, starts, streams } = library.broker.evicted
  t.ok(texts > 0 && shortened > 0 && messages > 0, JSON.stringify({ texts, shortened, messages }))
  t.strictSame([ends, starts, streams], [0, 0, 0])
  t.end()
})

t.test('publish says that a message was not kept if it was evicted at once', (t) => {
  const library = new Library({ maxTotalBytes: MAX_TOTAL })
  for (let n = 0; n < 40; n++) library.publish(`s ${n}`, withShortForm('complete', 'j'), ballast(120_000))
  t.match(library.broker.publish('session:largest', ballast(250_000), withShortForm('complete', 'j')), { kept: false })
  t.strictSame(namesOf(library.ask('largest')), ['short form of complete'])
  t.end()
})

t.test('the state of running jobs is evicted last, and the jobs still run', (t) => {
  const library = new Library({ maxTotalBytes: MIB })
  for (let n = 0; n < 300; n++) library.publish('s', report('start', { jobId: String(n) }), '{"name":"start"}')
  t.ok(library.broker.bytes <= MIB / 8)
  t.ok(library.broker.evicted.starts > 0)
  t.match(library.broker.publish('session:s', '{}', report('start', { jobId: '0' })), { dropped: 'started' })
  t.match(library.broker.publish('session:s', '{"name":"end"}', report('complete', { jobId: '0' })), { jobId: '0' })
  t.equal(namesOf(library.ask('s')).includes('end'), true)
  t.end()
})

t.test('all limits hold and a late client gets every end for which there is room, whatever is published', (t) => {
  const jobId = fc.constantFrom('a', 'b', 'c')
  const name = fc.constantFrom('one', 'two', 'three', 'four')
  const size = fc.oneof(fc.integer({ min: 0, max: 200 }), fc.integer({ min: 5_000, max: 40_000 }), fc.constant(600_000))
  const step = fc.record({ event: fc.constantFrom('start' as const, 'progress' as const, 'complete' as const, 'error' as const, 'text' as const, 'message' as const), name, jobId, size, presumed: fc.boolean() })
  const maxTotalBytes = 2 * MIB
  fc.assert(fc.property(fc.array(step, { maxLength: 60, size: 'max' }), (steps) => {
    const library = new Library({ maxTotalBytes, maxBytes: Infinity })
    library.publish('bystander', report('complete'), '{"name":"end of a bystander"}')
    /** The latest accepted end of each session. */
    const latest = new Map<string, number>()
    for (const { event, name, jobId, size, presumed } of steps) {
      const body = ballast(event === 'text' ? 0 : size)
      const options = event === 'message'
        ? durable
        : event === 'text'
          ? { ...withShortForm('progress', jobId), delta: 'x'.repeat(size) }
          : { ...withShortForm(event, jobId), job: { event, jobId, presumed: event === 'error' && presumed } }
      const published = library.broker.publish(`session:${name}`, body, options)
      if ((event === 'complete' || event === 'error') && published.dropped === undefined) latest.set(name, published.seq)
      if (library.broker.bytes > maxTotalBytes) return false
      for (const [session, seq] of latest) {
        if (library.ask(session).replay.every((publication) => publication.seq !== seq)) return false
      }
    }
    return library.ask('bystander').replay.length === 1 && library.broker.evicted.ends === 0
  }), { numRuns: 50 })
  t.end()
})
