import t from 'tap'
import { Frame } from '../../../lib/delivery/frame.js'
import { FrameCache } from '../../../lib/delivery/frame-cache.js'
import { JobText } from '../../../lib/streams/job-text.js'
import { FakeClock } from '../../support/fake-clock.js'

const MEGABYTE = 1024 * 1024

t.test('a frame is made once for the same key, source and revision', (t) => {
  const clock = new FakeClock()
  const frames = new FrameCache(clock)
  const [text, other] = [new JobText(1), new JobText(1)]
  const make = (): Frame => new Frame('x')
  const first = frames.frame('missed', 'a', text, 1, make)
  t.equal(frames.frame('missed', 'a', text, 1, make), first)
  t.not(frames.frame('missed', 'b', text, 1, make), first)
  t.equal(frames.frame('missed', 'a', text, 1, make), first)
  const second = frames.frame('missed', 'a', text, 2, make)
  t.not(second, first, 'a newer revision')
  t.equal(frames.frame('missed', 'a', text, 2, make), second)
  t.not(frames.frame('missed', 'a', other, 2, make), second, 'another source with the same key')
  t.end()
})

t.test('frames are cached for one second', (t) => {
  const clock = new FakeClock()
  const frames = new FrameCache(clock)
  const text = new JobText(1)
  const make = (): Frame => new Frame('x')
  const first = frames.frame('missed', 'a', text, 1, make)
  clock.advance(999)
  t.equal(frames.frame('missed', 'a', text, 1, make), first)
  t.equal(clock.pending, 1)
  clock.advance(1)
  t.equal(clock.pending, 0)
  t.not(frames.frame('missed', 'a', text, 1, make), first)
  t.end()
})

t.test('the cache does not exceed its size limit', (t) => {
  const frames = new FrameCache(new FakeClock())
  const text = new JobText(1)
  const ask = (name: string, megabytes: number): Frame => {
    return frames.frame('missed', name, text, 1, () => new Frame('x'.repeat(megabytes * MEGABYTE)))
  }
  const [a, b] = [ask('a', 3), ask('b', 3)]
  t.equal(ask('a', 3), a)
  const c = ask('c', 3)
  t.equal(ask('c', 3), c)
  t.not(ask('a', 3), a, 'the cache was cleared for the third frame')
  t.not(ask('b', 3), b)
  t.not(ask('huge', 9), ask('huge', 9), 'a frame that exceeds the limit alone is not cached')
  t.equal(ask('b', 3), ask('b', 3), 'and the other frames stay cached')
  t.end()
})

t.test('a replaced frame no longer counts', (t) => {
  const frames = new FrameCache(new FakeClock())
  const text = new JobText(1)
  const small = frames.frame('missed', 'small', text, 1, () => new Frame('x'))
  for (let revision = 0; revision < 10; revision++) frames.frame('missed', 'a', text, revision, () => new Frame('x'.repeat(3 * MEGABYTE)))
  t.equal(frames.frame('missed', 'small', text, 1, () => new Frame('x')), small)
  t.end()
})

t.test('the overhead of each frame counts, so that few small frames fit', (t) => {
  const frames = new FrameCache(new FakeClock())
  const make = (): Frame => new Frame('x')
  const first = frames.frame('missed', 0, frames, 1, make)
  for (let key = 1; key < 10_000; key++) frames.frame('missed', key, frames, 1, make)
  t.equal(frames.frame('missed', 0, frames, 1, make), first)
  for (let key = 10_000; key < 20_000; key++) frames.frame('missed', key, frames, 1, make)
  t.not(frames.frame('missed', 0, frames, 1, make), first)
  t.end()
})

t.test('frames with different marks share the size limit only', (t) => {
  const frames = new FrameCache(new FakeClock())
  const marks = ['live', 'snapshot', 'missed'] as const
  const make = (): Frame => new Frame('x'.repeat(2 * MEGABYTE))
  const made = marks.map((mark) => frames.frame(mark, 'a', frames, 1, make))
  t.equal(new Set(made).size, 3)
  t.strictSame(marks.map((mark) => frames.frame(mark, 'a', frames, 1, make)), made)
  for (const name of ['b', 'c']) frames.frame('live', name, frames, 1, make)
  t.not(frames.frame('missed', 'a', frames, 1, make), made[2])
  t.end()
})
