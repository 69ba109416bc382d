import t from 'tap'
import { Evictions } from '../../../lib/streams/evictions.js'
import { durable, report } from '../../../lib/testing/reports.js'
import { FakeClock } from '../../support/fake-clock.js'
import { Library } from '../../support/library.js'
import { fakeLogger } from '../../support/log.js'

function start () {
  const [clock, log] = [new FakeClock(), fakeLogger()]
  return { clock, log, evictions: new Evictions({ clock, log }), lines: () => log.entries.map(({ fields }) => fields.evicted) }
}

const none = { messages: 0, starts: 0, texts: 0, ends: 0, shortened: 0, streams: 0 }

t.test('the first eviction is logged at once, later ones together, and no line is logged without any', (t) => {
  const { clock, evictions, lines } = start()
  evictions.report()
  evictions.add('messages', 0)
  evictions.report()
  t.strictSame(lines(), [])
  evictions.add('ends')
  evictions.report()
  t.strictSame(lines(), [{ ...none, ends: 1 }])
  for (let n = 0; n < 100; n++) {
    evictions.add('messages', 2)
    evictions.report()
    clock.advance(99)
  }
  t.equal(lines().length, 1)
  clock.advance(100)
  t.strictSame(lines().slice(1), [{ ...none, messages: 200 }], 'ten seconds later')
  clock.advance(60_000)
  t.equal(lines().length, 2)
  t.equal(clock.pending, 0)
  t.strictSame(evictions.total, { ...none, ends: 1, messages: 200 })
  t.end()
})

t.test('close logs the remaining counts, and cancels the timer', (t) => {
  const { clock, evictions, lines } = start()
  evictions.close()
  for (let n = 0; n < 2; n++) {
    evictions.add('texts')
    evictions.report()
  }
  evictions.close()
  t.strictSame(lines(), [{ ...none, texts: 1 }, { ...none, texts: 1 }])
  t.equal(clock.pending, 0)
  t.end()
})

t.test('the total is a copy', (t) => {
  const { evictions } = start()
  evictions.total.ends = 7
  t.strictSame(evictions.total, none)
  t.end()
})

t.test('a broker logs what it evicts, but not what expires', (t) => {
  const log = fakeLogger()
  const library = new Library({ log, maxTotalBytes: 100_000, maxStreams: 10 })
  for (let n = 0; n < 3; n++) library.publish(`s${n}`, report('complete'))
  library.clock.advance(48 * 3_600_000)
  t.equal(library.broker.bytes, 0)
  t.strictSame(log.entries, [])
  for (let n = 0; n < 11; n++) library.publish(`s${n}`, durable)
  t.match(log.entries, [{ level: 'warn', message: /history is full/, fields: { evicted: { streams: 1, messages: 1 } } }])
  t.end()
})
