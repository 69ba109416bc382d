import t from 'tap'
import { pieceOf } from '../../../lib/testing/received.js'
import { durable, report, text } from '../../../lib/testing/reports.js'
import { Library } from '../../support/library.js'

// More streams than maxStreams, while jobs run in some of them.

const MINUTE_MS = 60_000
const DAY_MS = 24 * 60 * MINUTE_MS

function pieces (library: Library, name: string): unknown[] {
  return library.ask(name).replay.map((publication) => pieceOf(publication))
}

const whole = (text: string): object => ({ text, offset: 0, truncated: false })

for (const age of ['fresh', 'settled'] as const) {
  t.test(`a stream with a running job is skipped, and its text stays complete (${age})`, (t) => {
    const library = new Library({ maxStreams: 4 })
    const { epoch } = library.publish('s', text('first half, ', 'j'))
    if (age === 'settled') library.clock.advance(6 * MINUTE_MS)
    for (let n = 0; n < 50; n++) library.publish(`other ${n}`)
    t.equal(library.publish('s', text('second half', 'j')).epoch, epoch)
    t.strictSame(pieces(library, 's'), [whole('first half, second half')])
    t.equal(library.broker.evicted.streams, 47)
    t.end()
  })
}

t.test('a stream with one running job of several is skipped, and so is one with a presumed end', (t) => {
  const library = new Library({ maxStreams: 4 })
  library.publish('several', text('runs', 'a'))
  library.publish('several', text('ended', 'b'))
  library.publish('several', report('complete', { jobId: 'b' }))
  library.publish('presumed', text('goes on, ', 'j'))
  library.publish('presumed', report('error', { jobId: 'j', presumed: true }))
  for (let n = 0; n < 50; n++) library.publish(`other ${n}`)
  t.strictSame(pieces(library, 'several').slice(0, 2), [whole('runs'), whole('ended')])
  library.publish('presumed', text('after all', 'j'))
  library.publish('presumed', report('complete', { jobId: 'j' }))
  t.strictSame(pieces(library, 'presumed'), [whole('goes on, after all'), undefined])
  t.end()
})

t.test('a stream whose job has ended is not skipped, nor is a user stream', (t) => {
  const library = new Library({ maxStreams: 4 })
  const { epoch } = library.publish('s', text('whole', 'j'))
  library.publish('s', report('complete', { jobId: 'j' }))
  const user = library.broker.publish('user:one', '{}', durable)
  for (let n = 0; n < 10; n++) library.publish(`other ${n}`)
  t.match(library.ask('s', { epoch, seq: 1 }), { recovered: false, reason: 'restarted', replay: [] })
  t.match(library.broker.join('user:one', { since: user }), { recovered: false, reason: 'restarted' })
  t.end()
})

t.test('a skipped stream does not outlive its lifetime', (t) => {
  const library = new Library({ maxStreams: 4 })
  const since = library.publish('s', report('start', { jobId: 'j' }))
  library.publish('s', text('text', 'j'))
  library.publish('followed', durable)
  const followed = library.follow('followed')
  for (let n = 0; n < 10; n++) library.publish(`other ${n}`)
  library.clock.advance(6 * MINUTE_MS)
  t.match(library.ask('s', { ...since, seq: 0 }), { recovered: false, reason: 'expired' }, 'its messages expire like any')
  library.broker.leave('session:s')
  t.match(library.ask('followed', { ...followed, seq: 0 }), { reason: 'expired' })
  library.publish('s', text(' goes on', 'j'))
  for (let n = 0; n < 10; n++) library.publish(`another ${n}`)
  library.clock.advance(DAY_MS + MINUTE_MS)
  t.match(library.ask('s', since), { recovered: false, reason: 'restarted' })
  t.match(library.ask('followed', followed), { recovered: true }, 'a subscriber keeps the numbering')
  t.end()
})

t.test('a skipped stream counts as used, with its messages, when its last subscriber leaves', (t) => {
  const library = new Library({ maxStreams: 4 })
  const first = library.follow('s')
  library.publish('s')
  for (let n = 0; n < 10; n++) library.publish(`other ${n}`)
  library.broker.leave('session:s')
  library.clock.advance(4 * MINUTE_MS)
  t.match(library.ask('s', first), { recovered: true, replay: { length: 1 } })
  library.broker.leave('session:s')
  library.clock.advance(6 * MINUTE_MS)
  t.match(library.ask('s', first), { recovered: false, reason: 'expired' })
  t.end()
})

t.test('a trimmed stream with subscribers does not suspend the limit', (t) => {
  const library = new Library({ maxStreams: 4 })
  library.publish('followed')
  library.follow('followed')
  library.clock.advance(6 * MINUTE_MS)
  const positions = Array.from({ length: 50 }, (_, n) => library.publish(`other ${n}`))
  const kept = positions.filter((position, n) => library.broker.join(`session:other ${n}`, { since: position }).recovered)
  t.equal(kept.length, 4)
  t.end()
})

t.test('twice as many are kept if jobs run in all of them; a text then continues at its offset, marked as truncated', (t) => {
  const library = new Library({ maxStreams: 10 })
  const positions = Array.from({ length: 50 }, (_, n) => library.publish(`s ${n}`, text('first half, ', 'j')))
  t.equal(library.broker.evicted.streams, 30)
  t.strictSame(pieces(library, 's 49'), [whole('first half, ')])
  t.match(library.ask('s 0', positions[0]), { recovered: false, reason: 'restarted', replay: [] })
  library.follow('s 0')
  library.deliveries.length = 0
  const again = library.publish('s 0', text('second half', 'j'))
  t.not(again.epoch, positions[0]!.epoch)
  const rest = { text: 'second half', offset: 12, truncated: true }
  t.strictSame(pieceOf(library.deliveries[0]!.publication), rest, 'delivered to the subscriber')
  t.strictSame(pieces(library, 's 0'), [rest], 'and replayed to a late one')
  library.publish('s 0', text(' and more', 'j'))
  t.strictSame(pieceOf(library.deliveries[1]!.publication), { text: ' and more', offset: 23, truncated: false })
  // The text of a job that starts now is complete.
  library.publish('s 0', report('start', { jobId: 'new' }))
  library.publish('s 0', text('from its beginning', 'new'))
  t.strictSame(pieces(library, 's 0').at(-1), whole('from its beginning'))
  t.end()
})

t.test('a job that expired and then continues has a truncated text too', (t) => {
  const library = new Library()
  library.publish('s', text('first half, ', 'j'))
  library.clock.advance(2 * DAY_MS)
  library.publish('s', text('second half', 'j'))
  t.strictSame(pieces(library, 's'), [{ text: 'second half', offset: 12, truncated: true }])
  t.equal(library.broker.evicted.streams, 0, 'which is no eviction')
  t.end()
})

t.test('a skipped stream with a running job is not forgotten once it has subscribers', (t) => {
  const library = new Library({ maxStreams: 4 })
  for (let n = 0; n < 8; n++) library.publish(`s ${n}`, text('text', 'j'))
  library.follow('s 0')
  for (let n = 8; n < 30; n++) library.publish(`s ${n}`, text('text', 'j'))
  t.strictSame(pieces(library, 's 0'), [whole('text')])
  t.end()
})

for (const [what, maxMessages, bytes] of [['messages', 1_000, 2_300], ['starts', 0, 4_700]] as const) {
  t.test(`the skipped streams are evicted last: ${what}`, (t) => {
    const maxTotalBytes = 16 * 1024 * 1024
    const library = new Library({ maxStreams: 600, maxTotalBytes, maxMessages })
    for (let n = 0; n < 1_190; n++) {
      library.publish(`s ${n}`, report('start', { jobId: 'j' }), bytes)
      if (library.broker.bytes > maxTotalBytes) t.fail('above the ceiling')
    }
    const { evicted } = library.broker
    t.ok(evicted[what] > 50)
    t.match(evicted, { [what === 'messages' ? 'starts' : 'messages']: 0, streams: 0 })
    t.equal(library.broker.currentJob('session:s 0'), 'j', 'it still runs')
    t.end()
  })
}
