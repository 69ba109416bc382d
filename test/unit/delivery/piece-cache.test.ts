import t from 'tap'
import { Frame } from '../../../lib/delivery/frame.js'
import { PieceCache } from '../../../lib/delivery/piece-cache.js'
import { RunningText } from '../../../lib/jobs/text.js'
import { FakeClock } from '../../support/fake-clock.js'

const MEGABYTE = 1024 * 1024

t.test('a frame is made once for the same name, text and revision', (t) => {
  const clock = new FakeClock()
  const pieces = new PieceCache(clock)
  const [text, other] = [new RunningText(1), new RunningText(1)]
  const make = (): Frame => new Frame('x')
  const first = pieces.frame('a', text, 1, make)
  t.equal(pieces.frame('a', text, 1, make), first)
  t.not(pieces.frame('b', text, 1, make), first)
  t.equal(pieces.frame('a', text, 1, make), first)
  const second = pieces.frame('a', text, 2, make)
  t.not(second, first, 'a newer revision')
  t.equal(pieces.frame('a', text, 2, make), second)
  t.not(pieces.frame('a', other, 2, make), second, 'another text with the same name')
  t.end()
})

t.test('frames are kept for a second', (t) => {
  const clock = new FakeClock()
  const pieces = new PieceCache(clock)
  const text = new RunningText(1)
  const make = (): Frame => new Frame('x')
  const first = pieces.frame('a', text, 1, make)
  clock.advance(999)
  t.equal(pieces.frame('a', text, 1, make), first)
  t.equal(clock.pending, 1)
  clock.advance(1)
  t.equal(clock.pending, 0)
  t.not(pieces.frame('a', text, 1, make), first)
  t.end()
})

t.test('no more is kept than there is room for', (t) => {
  const pieces = new PieceCache(new FakeClock())
  const text = new RunningText(1)
  const ask = (name: string, megabytes: number): Frame => {
    return pieces.frame(name, text, 1, () => new Frame('x'.repeat(megabytes * MEGABYTE)))
  }
  const [a, b] = [ask('a', 3), ask('b', 3)]
  t.equal(ask('a', 3), a)
  const c = ask('c', 3)
  t.not(ask('a', 3), a, 'the oldest made room for the third')
  t.not(ask('b', 3), b)
  t.equal(ask('a', 3), ask('a', 3))
  t.not(ask('c', 3), c)
  t.not(ask('huge', 9), ask('huge', 9), 'one that is too much alone is not kept')
  t.end()
})
