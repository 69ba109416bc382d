import assert from 'node:assert/strict'
import t from 'tap'
import fc from 'fast-check'
import { nextDue, TrackProgress } from '../../../lib/jobs/track-progress.js'
import type { AIProgress } from '../../../lib/protocol/messages.js'
import { FakeClock } from '../../support/fake-clock.js'

function start ({ throttleMs = 100, sendText = true } = {}) {
  const clock = new FakeClock()
  const sent: Array<AIProgress & { delta?: string }> = []
  let kept = 0
  const progress = new TrackProgress({
    clock, throttleMs, sendText, send: (each) => { sent.push(each) }, keepAlive: () => { kept++ }
  })
  return { clock, sent, progress, get kept () { return kept } }
}

t.test('the first chunk is reported at once', (t) => {
  const { clock, sent, progress } = start()
  progress.add('abc')
  t.same(sent, [{ chunksReceived: 1, contentLength: 3, delta: 'abc' }])
  t.equal(clock.pending, 0)
  t.end()
})

t.test('chunks within the throttle are reported together, at its end', (t) => {
  const { clock, sent, progress } = start()
  progress.add('a')
  clock.advance(40)
  progress.add('b')
  clock.advance(40)
  progress.add('c')
  clock.advance(19)
  t.equal(sent.length, 1)
  clock.advance(1)
  t.same(sent.slice(1), [{ chunksReceived: 3, contentLength: 3, delta: 'bc' }])
  t.equal(clock.pending, 0)
  t.end()
})

t.test('a chunk after a pause is reported at once', (t) => {
  const { clock, sent, progress } = start()
  progress.add('a')
  clock.advance(100)
  progress.add('b')
  t.equal(sent.length, 2)
  t.equal(clock.pending, 0)
  t.end()
})

t.test('the throttle restarts with a progress sent by the timer', (t) => {
  const { clock, sent, progress } = start()
  progress.add('a')
  progress.add('b')
  clock.advance(100)
  progress.add('c')
  clock.advance(99)
  t.equal(sent.length, 2)
  clock.advance(1)
  t.equal(sent.length, 3)
  t.end()
})

t.test('a synchronous source is reported without timers, and the late timer reports nothing twice', (t) => {
  const { clock, sent, progress } = start()
  progress.add('a')
  progress.add('b')
  t.equal(clock.pending, 1)
  clock.monotonic = () => 150
  progress.add('c')
  t.same(sent.slice(1), [{ chunksReceived: 3, contentLength: 3, delta: 'bc' }])
  t.equal(clock.pending, 0)
  t.end()
})

t.test('a chunk that is reported later resets the stall timer now', (t) => {
  const endless = start({ throttleMs: Infinity })
  endless.progress.add('a')
  t.equal(endless.kept, 0, 'a progress does it itself')
  endless.progress.add('b')
  endless.progress.add('')
  t.equal(endless.kept, 2)
  t.equal(endless.sent.length, 1)
  t.end()
})

t.test('end reports the pending progress, and leaves no timer', (t) => {
  const { clock, sent, progress } = start()
  progress.add('a')
  progress.add('b')
  progress.end('!')
  t.same(sent.slice(1), [{ chunksReceived: 2, contentLength: 3, delta: 'b!' }])
  t.equal(clock.pending, 0)
  t.end()
})

t.test('end reports nothing twice', (t) => {
  const { sent, progress } = start()
  progress.end()
  t.same(sent, [])
  progress.add('a')
  progress.end()
  progress.end()
  t.equal(sent.length, 1)
  t.end()
})

t.test('chunks without text count', (t) => {
  const { sent, progress } = start()
  progress.add('')
  progress.add('')
  progress.end()
  t.same(sent, [{ chunksReceived: 1, contentLength: 0 }, { chunksReceived: 2, contentLength: 0 }])
  t.equal(progress.chunks, 2)
  t.end()
})

t.test('with sendText: false, the text is still counted', (t) => {
  const { sent, progress } = start({ sendText: false })
  progress.add('👋')
  progress.end('a')
  t.same(sent, [{ chunksReceived: 1, contentLength: 2 }, { chunksReceived: 1, contentLength: 3 }])
  t.equal(progress.contentLength, 3)
  t.end()
})

t.test('throttle 0 sends one progress per chunk, and Infinity one for the first chunk and one for the rest', (t) => {
  const none = start({ throttleMs: 0 })
  for (const text of 'abc') none.progress.add(text)
  t.equal(none.sent.length, 3)

  const endless = start({ throttleMs: Infinity })
  for (const text of 'abc') endless.progress.add(text)
  endless.clock.advance(1e9)
  endless.progress.end()
  t.same(endless.sent.map(({ delta }) => delta), ['a', 'bc'])
  t.equal(endless.clock.pending, 0)
  t.end()
})

t.test('half a surrogate pair waits for its other half', (t) => {
  const { clock, sent, progress } = start()
  progress.add('a\ud83d')
  t.same(sent, [{ chunksReceived: 1, contentLength: 2, delta: 'a' }])
  progress.add('\udc4b')
  clock.advance(100)
  t.same(sent.slice(1), [{ chunksReceived: 2, contentLength: 3, delta: '👋' }])
  t.end()
})

t.test('an unpaired surrogate at the end is sent with the end', (t) => {
  const { sent, progress } = start()
  progress.add('\ud83d')
  progress.end()
  t.same(sent, [{ chunksReceived: 1, contentLength: 1 }, { chunksReceived: 1, contentLength: 1, delta: '\ud83d' }])
  t.end()
})

t.test('for any chunks and times, the text is sent once, in whole characters, never too often', (t) => {
  const text = fc.string({ unit: fc.constantFrom('a', 'é', '👋') })
  const steps = fc.array(fc.record({ units: fc.nat(4), wait: fc.nat(150) }))
  fc.assert(fc.property(text, steps, (text, steps) => {
    const { clock, sent, progress } = start()
    let at = 0
    for (const { units, wait } of [...steps, { units: text.length, wait: 0 }]) {
      progress.add(text.slice(at, at + units))
      at += units
      clock.advance(wait)
    }
    assert(sent.length <= clock.monotonic() / 100 + 1, 'too often')
    progress.end()
    assert.equal(sent.map(({ delta = '' }) => delta).join(''), text)
    assert(!sent.some(({ delta = '' }) => /[\ud800-\udbff]$/.test(delta)), 'half a pair')
    assert.equal(clock.pending, 0)
  }))
  t.end()
})

t.test('two jobs that start at different times soon share their times', (t) => {
  t.equal(nextDue(3, -Infinity, 100), 110)
  t.equal(nextDue(7, -Infinity, 100), 110)
  t.end()
})

t.test('a small delay does not shift the following times, and a large one does', (t) => {
  t.equal(nextDue(109, 100, 100), 200)
  t.equal(nextDue(111, 100, 100), 220)
  t.end()
})

t.test('shared times are closer together for shorter intervals, and any time is one for interval 0', (t) => {
  t.equal(nextDue(7, -Infinity, 25), 32.5)
  t.equal(nextDue(7, -Infinity, 5_000), 5_010)
  t.equal(nextDue(7, -Infinity, 0), 7)
  t.equal(nextDue(7, -Infinity, Infinity), Infinity)
  t.end()
})

t.test('floating-point errors don\'t add up', (t) => {
  const first = nextDue(0, -Infinity, 33)
  let due = first
  for (let i = 1; i <= 10_000; i++) due = nextDue(due, due, 33)
  t.ok(Math.abs(due - first - 10_000 * 33) < 1, String(due - first))
  t.end()
})
