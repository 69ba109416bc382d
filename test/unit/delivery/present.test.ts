import t from 'tap'
import { Frame } from '../../../lib/delivery/frame.js'
import { PresentFrames } from '../../../lib/delivery/present.js'
import { RunningText } from '../../../lib/jobs/text.js'
import { report, text } from '../../support/contract-stage.js'
import { FakeClock } from '../../support/fake-clock.js'
import { memoryBroker } from '../../support/memory-broker.js'
import { Room, streamOf, type Guest } from '../../support/room.js'

const PROGRESS = '{"type":"ai_progress","progress":{}}'
/** Longer than what is written in one go, so that its frame is a write of its own. */
const LONG = 'x'.repeat(100_000)

/** Somebody comes who holds so much of the text. */
function come (room: Room, held = 0): Guest {
  const guest = room.enter()
  void room.hub.join(guest.follower, [{ stream: streamOf('s'), have: new Map([['j', held]]) }], () => 'hello')
  room.clock.tick()
  return guest
}

function progress (room: Room, delta: string, body = PROGRESS): void {
  room.broker.publish(streamOf('s'), body, { ...text(delta, 'j'), textAt: body.length - 2 })
}

const frameOf = ({ transport }: Guest): Buffer => transport.writes.at(-1)!
const told = ({ transport }: Guest): { delta: string, offset: number } =>
  (JSON.parse(transport.texts.at(-1)!) as { progress: { delta: string, offset: number } }).progress

t.test('what many late readers lack is made once', async (t) => {
  const room = new Room()
  progress(room, LONG)
  const first = come(room)
  t.equal(frameOf(come(room)), frameOf(first), 'the same bytes')
  room.clock.advance(999)
  t.equal(frameOf(come(room)), frameOf(first))
  const behind = come(room, 10)
  t.match(told(behind), { offset: 10, delta: LONG.slice(10) }, 'who holds a part gets the rest')
  t.equal(frameOf(come(room, 10)), frameOf(behind))
  t.equal(frameOf(come(room)), frameOf(first))
})

t.test('until the text has grown', async (t) => {
  const room = new Room()
  progress(room, LONG)
  const first = come(room)
  progress(room, '!')
  const second = come(room)
  t.equal(told(second).delta, `${LONG}!`)
  t.equal(frameOf(come(room)), frameOf(second))
  t.match(told(first), { delta: '!', offset: LONG.length }, 'who was there got what is new')
  progress(room, '', '{"type":"ai_progress","progress":{"chunksReceived":7}}')
  t.match(told(come(room)), { chunksReceived: 7, delta: `${LONG}!` }, 'or a newer progress tells something else')
})

t.test('also where it grew behind an end that was only presumed', async (t) => {
  const room = new Room()
  progress(room, LONG)
  room.broker.publish(streamOf('s'), '{"type":"ai_error"}', report('error', { jobId: 'j', presumed: true }))
  const textOf = (): string => (JSON.parse(come(room).transport.texts.at(-2)!) as { progress: { delta: string } }).progress.delta
  t.equal(textOf(), LONG)
  progress(room, '!')
  t.equal(textOf(), `${LONG}!`)
})

t.test('for a second, and not in the next life of the stream', async (t) => {
  const clock = new FakeClock()
  const room = new Room({ broker: memoryBroker(clock, { maxStreams: 1 }) })
  progress(room, LONG)
  const first = come(room)
  room.hub.drop(first.follower)
  // Jobs run in all of them.
  for (const name of ['another', 'and another', 'a third']) room.broker.publish(streamOf(name), '{"type":"note"}', report('start'))
  progress(room, 'y'.repeat(100_000))
  const second = come(room)
  t.equal(told(second).delta[0], 'y')
  room.clock.advance(1_000)
  t.equal(room.clock.pending, 0)
  t.not(frameOf(come(room)), frameOf(second))
})

t.test('no more is kept than there is room for', async (t) => {
  const clock = new FakeClock()
  const present = new PresentFrames(clock)
  const source = new RunningText(1)
  const ask = (jobId: string, megabytes: number): Frame => {
    const publication = { body: '', durable: false, revision: 1, jobId }
    return present.frame('session:s', publication, { source, from: 0, to: 1 }, 0, () => new Frame('x'.repeat(megabytes * 1024 * 1024)))
  }
  const [a, b] = [ask('a', 3), ask('b', 3)]
  t.equal(ask('a', 3), a)
  const c = ask('c', 3)
  t.not(ask('a', 3), a, 'the oldest made room for the third')
  t.not(ask('b', 3), b)
  t.equal(ask('a', 3), ask('a', 3))
  t.not(ask('c', 3), c)
  t.not(ask('huge', 9), ask('huge', 9), 'one that is too much alone is not kept')
  clock.advance(1_000)
  t.equal(clock.pending, 0)
})
