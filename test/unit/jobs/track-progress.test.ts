import assert from 'node:assert/strict'
import t from 'tap'
import fc from 'fast-check'
import { SharedTimers } from '../../../lib/jobs/shared-timers.js'
import { TrackProgress } from '../../../lib/jobs/track-progress.js'
import type { AIProgress } from '../../../lib/protocol/messages.js'
import { FakeClock } from '../../support/fake-clock.js'

function start ({ throttleMs = 100, sendText = true } = {}) {
  const clock = new FakeClock()
  const sent: Array<AIProgress & { delta?: string }> = []
  let heard = 0
  const progress = new TrackProgress({
    timers: new SharedTimers(clock), throttleMs, sendText, send: (each) => { sent.push(each) }, keepAlive: () => { heard++ }
  })
  return { clock, sent, progress, get heard () { return heard } }
}

t.test('the first chunk is told at once', (t) => {
  const { clock, sent, progress } = start()
  progress.add('abc')
  t.same(sent, [{ chunksReceived: 1, contentLength: 3, delta: 'abc' }])
  t.equal(clock.pending, 0)
  t.end()
})

t.test('chunks inside the throttle are told together, when its time is over', (t) => {
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

t.test('a chunk after a pause is told at once', (t) => {
  const { clock, sent, progress } = start()
  progress.add('a')
  clock.advance(100)
  progress.add('b')
  t.equal(sent.length, 2)
  t.equal(clock.pending, 0)
  t.end()
})

t.test('the throttle begins again with a progress that a timer sent', (t) => {
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

t.test('a source that lets no timer fire is told of all the same, and its late timer tells nothing twice', (t) => {
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

t.test('a chunk that is told later is a sign of life now', (t) => {
  const endless = start({ throttleMs: Infinity })
  endless.progress.add('a')
  t.equal(endless.heard, 0, 'a progress is one already')
  endless.progress.add('b')
  endless.progress.add('')
  t.equal(endless.heard, 2)
  t.equal(endless.sent.length, 1)
  t.end()
})

t.test('the end tells what was not told, and leaves no timer', (t) => {
  const { clock, sent, progress } = start()
  progress.add('a')
  progress.add('b')
  progress.end('!')
  t.same(sent.slice(1), [{ chunksReceived: 2, contentLength: 3, delta: 'b!' }])
  t.equal(clock.pending, 0)
  t.end()
})

t.test('the end tells nothing twice', (t) => {
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

t.test('without sending, the text is counted all the same', (t) => {
  const { sent, progress } = start({ sendText: false })
  progress.add('👋')
  progress.end('a')
  t.same(sent, [{ chunksReceived: 1, contentLength: 2 }, { chunksReceived: 1, contentLength: 3 }])
  t.equal(progress.contentLength, 3)
  t.end()
})

t.test('no throttle: one progress for each chunk; an endless one: the first and the rest', (t) => {
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

t.test('half a surrogate pair that stays alone goes with the end', (t) => {
  const { sent, progress } = start()
  progress.add('\ud83d')
  progress.end()
  t.same(sent, [{ chunksReceived: 1, contentLength: 1 }, { chunksReceived: 1, contentLength: 1, delta: '\ud83d' }])
  t.end()
})

t.test('however the text is cut and time passes: all of it is told, once, in whole characters, never too often', (t) => {
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
