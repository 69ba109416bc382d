import assert from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import type { Publication } from '../../../lib/streams/broker.js'
import type { Frame } from '../../../lib/delivery/frame.js'
import { Framing } from '../../../lib/delivery/framing.js'
import { PIECE_UNITS, type Replay } from '../../../lib/delivery/replay.js'
import { JobText } from '../../../lib/streams/job-text.js'
import { FakeClock } from '../../support/fake-clock.js'
import { Room, streamOf, type Guest } from '../../support/room.js'

const BODY = '{"type":"ai_progress","timestamp":"now","progress":{"chunks":1}}'

interface Piece { type: string, sessionId?: string, progress: { chunks?: number, delta?: string, offset?: number, truncated?: boolean }, timestamp: string, jobId: string, replayed?: string }

function progressOf (source: JobText, { body = BODY, revision = 1 } = {}): Publication {
  return { body, durable: false, revision, jobId: 'j', text: { source, from: 0, to: source.end } }
}

function textOf (...deltas: string[]): JobText {
  const text = new JobText(1024 * 1024)
  for (const delta of deltas) text.append(delta)
  return text
}

function framesOf (replay: Replay): Frame[] {
  const frames: Frame[] = []
  for (let frame = replay.next(); frame !== undefined; frame = replay.next()) frames.push(frame)
  return frames
}

const read = (frame: Frame): Piece => JSON.parse(frame.payload.toString()) as Piece
const held = (units: number): ReadonlyMap<string, number> => new Map([['j', units]])

/** The text of a client that has the beginning, after these frames. */
function stitch (frames: readonly Frame[], text = ''): string {
  for (const frame of frames) {
    const { delta = '', offset = text.length } = read(frame).progress
    assert.ok(offset <= text.length, 'there is no gap')
    text = text.slice(0, offset) + delta
  }
  return text
}

t.test('a short text is sent in one message', (t) => {
  const replay = new Framing(new FakeClock(), undefined).replay('session:s', [progressOf(textOf('one ', 'two'))], 'snapshot', undefined)
  t.match(replay, { messages: 1, bytes: BODY.length + 7 })
  t.strictSame(framesOf(replay).map(read), [
    { type: 'ai_progress', progress: { chunks: 1, delta: 'one two', offset: 0 }, timestamp: 'now', jobId: 'j', replayed: 'snapshot' }
  ])
  t.end()
})

t.test('a long text is sent in pieces, each below 64 KiB whatever its content', (t) => {
  const framing = new Framing(new FakeClock(), undefined)
  for (const unit of ['x', 'é', '€', '💡', '\u0001', '"', '\ud800']) {
    const text = unit.repeat(100_000)
    const replay = framing.replay('session:s', [progressOf(textOf(text))], 'snapshot', undefined)
    const frames = framesOf(replay)
    t.equal(frames.length, replay.messages)
    t.ok(frames.length > 9)
    t.ok(frames.every((frame) => frame.payload.length < 64 * 1024), JSON.stringify(unit))
    // Half of a surrogate pair at the end is held back.
    t.equal(stitch(frames), text.slice(0, unit === '\ud800' ? -1 : undefined))
    t.ok(frames.every((frame) => !/^[\udc00-\udfff]/.test(read(frame).progress.delta!)), 'no surrogate pair is split')
  }
  t.end()
})

t.test('clients share the pieces, wherever theirs begin, and while the text grows', (t) => {
  const framing = new Framing(new FakeClock(), undefined)
  const text = textOf('x'.repeat(5 * PIECE_UNITS))
  const first = framesOf(framing.replay('session:s', [progressOf(text)], 'snapshot', undefined))
  t.equal(first.length, 5)
  const second = framesOf(framing.replay('session:s', [progressOf(text)], 'snapshot', held(100)))
  t.not(second[0], first[0])
  t.strictSame(second.slice(1).map((frame, at) => frame === first[at + 1]), [true, true, true, true])
  text.append('y')
  const third = framesOf(framing.replay('session:s', [progressOf(text, { revision: 2 })], 'snapshot', undefined))
  t.strictSame(third.map((frame, at) => frame === first[at]), [true, true, true, true, false, false])
  t.equal(stitch(third), `${'x'.repeat(5 * PIECE_UNITS)}y`)
  const other = framesOf(framing.replay('session:other', [progressOf(text)], 'snapshot', undefined))
  t.not(other[0], first[0])
  t.end()
})

t.test('the last piece is framed again if the progress has changed', (t) => {
  const framing = new Framing(new FakeClock(), undefined)
  const text = textOf('x'.repeat(10))
  const newer = BODY.replace('1', '2')
  const [first] = framesOf(framing.replay('session:s', [progressOf(text)], 'snapshot', undefined))
  t.equal(framesOf(framing.replay('session:s', [progressOf(text)], 'snapshot', undefined))[0], first)
  const [second] = framesOf(framing.replay('session:s', [progressOf(text, { body: newer, revision: 2 })], 'snapshot', undefined))
  t.match(read(second!).progress, { chunks: 2, delta: 'xxxxxxxxxx' })
  t.end()
})

t.test('a long progress is sent once, with the last piece', (t) => {
  const framing = new Framing(new FakeClock(), undefined)
  const body = BODY.replace('"chunks":1', `"chunks":1,"much":"${'.'.repeat(2000)}"`)
  const source = textOf('x'.repeat(2 * PIECE_UNITS + 1))
  const [first, second, last] = framesOf(framing.replay('session:a "b"', [progressOf(source, { body })], 'snapshot', undefined)).map(read)
  for (const piece of [first, second]) {
    t.match(piece, { type: 'ai_progress', sessionId: 'a "b"', timestamp: /^\d{4}-/, jobId: 'j' })
    t.strictSame(Object.keys(piece!.progress), ['delta', 'offset'])
  }
  t.match(last!.progress, { chunks: 1, much: /^\.+$/, delta: 'x', offset: 2 * PIECE_UNITS })
  t.end()
})

t.test('a text without its beginning starts with the kept part, marked as truncated', (t) => {
  const source = new JobText(3 * PIECE_UNITS)
  source.append('a'.repeat(3 * PIECE_UNITS))
  source.append('b'.repeat(PIECE_UNITS + 5))
  const replay = new Framing(new FakeClock(), undefined).replay('session:s', [progressOf(source)], 'snapshot', held(7))
  const frames = framesOf(replay).map(read)
  t.equal(frames.length, replay.messages)
  const begin = source.end - source.units
  t.match(frames[0]!.progress, { offset: begin, truncated: true })
  t.ok(frames.slice(1).every(({ progress }) => progress.truncated === undefined))
  t.equal(frames.map(({ progress }) => progress.delta).join(''), source.slice(begin).text)
  t.end()
})

t.test('a text that loses its beginning during the replay is marked as truncated, in the announced number of messages', (t) => {
  const source = new JobText(6 * PIECE_UNITS)
  source.append('a'.repeat(6 * PIECE_UNITS))
  const replay = new Framing(new FakeClock(), undefined).replay('session:s', [progressOf(source)], 'snapshot', undefined)
  const first = read(replay.next()!)
  source.append('b'.repeat(5 * PIECE_UNITS))
  const rest = framesOf(replay).map(read)
  t.equal(1 + rest.length, replay.messages)
  t.equal(first.progress.delta, 'a'.repeat(PIECE_UNITS))
  const begin = source.end - source.units
  t.match(rest[0]!.progress, { delta: '', offset: begin, truncated: true })
  t.equal(rest.map(({ progress }) => progress.delta).join(''), 'a'.repeat(6 * PIECE_UNITS - begin))
  t.end()
})

t.test('the client gets the whole text in the announced number of messages, however it is made and whatever the client has', (t) => {
  const unit = fc.constantFrom('x', 'é', '💡', '\ud83d', '\udca1')
  const delta = fc.tuple(unit, fc.integer({ min: 1, max: 2 * PIECE_UNITS })).map(([unit, times]) => unit.repeat(times))
  fc.assert(fc.property(fc.array(delta, { maxLength: 5 }), fc.double({ min: 0, max: 1.1, noNaN: true }), (deltas, share) => {
    const source = textOf(...deltas)
    const whole = source.slice(0).text
    const units = Math.floor(whole.length * share)
    const replay = new Framing(new FakeClock(), undefined).replay('session:s', [progressOf(source)], 'snapshot', held(units))
    const frames = framesOf(replay)
    assert.equal(frames.length, replay.messages)
    assert.equal(stitch(frames, units <= whole.length ? whole.slice(0, units) : ''), whole)
  }), { numRuns: 60 })
  t.end()
})

t.test('a client', (t) => {
  const long = 'x'.repeat(50 * PIECE_UNITS)
  const progress = (room: Room, delta: string, name = 's'): void => {
    room.publish(name, BODY, { job: { event: 'progress', jobId: 'j' }, delta })
  }
  const join = (room: Room, guest: Guest, name = 's', units = 0): void => {
    void room.hub.join(guest.subscriber, [{ stream: streamOf(name), have: held(units) }], (entered) => {
      const { replaying, replayBytes } = entered.get(streamOf(name))!
      return JSON.stringify({ replaying, replayBytes })
    })
    room.clock.tick()
  }
  const textSeen = ({ transport }: Guest): string => {
    let text = ''
    for (const message of transport.texts) {
      const { progress } = JSON.parse(message) as Partial<Piece>
      if (progress?.delta === undefined) continue
      t.ok(progress.offset! <= text.length, 'no gap')
      text = text.slice(0, progress.offset) + progress.delta
    }
    return text
  }

  t.test('that reads nothing costs almost nothing, however often it subscribes', (t) => {
    const room = new Room({ maxOutboxBytes: 100 * 1024 })
    progress(room, long)
    const guest = room.enter()
    guest.transport.stall()
    for (let i = 0; i < 100; i++) {
      join(room, guest)
      room.leave(guest, 's')
    }
    t.equal(guest.overflows, 0)
    t.ok(room.pool.queuedBytes < 100 * 1024, `${room.pool.queuedBytes} bytes`)
    while (guest.transport.bufferedBytes > 0) guest.transport.drain()
    t.equal(guest.transport.texts.filter((text) => text.includes('delta')).length, 0, 'nothing is sent of sessions that it has left')
    t.equal(room.pool.queuedBytes, 0)
    t.end()
  })

  t.test('that keeps subscribing and reads nothing is a slow consumer', (t) => {
    const room = new Room({ maxOutboxBytes: 20 * 1024 })
    progress(room, long)
    const guest = room.enter()
    guest.transport.stall()
    for (let i = 0; i < 100; i++) join(room, guest)
    t.equal(guest.overflows, 1)
    t.equal(room.pool.queuedBytes, 0)
    room.hub.drop(guest.subscriber)
    t.equal(guest.subscriber.replays, undefined)
    t.end()
  })

  t.test('that is slow gets pieces as it reads, with pings in between, and then new messages', (t) => {
    const room = new Room({ maxOutboxBytes: 100 * 1024 })
    progress(room, long)
    const guest = room.enter()
    guest.transport.stalled = true
    join(room, guest)
    t.match(JSON.parse(guest.transport.texts[0]!), { replaying: 50, replayBytes: BODY.length + long.length })
    let news = ''
    for (let reads = 0; guest.subscriber.outbox.isBehind; reads++) {
      t.ok(reads < 100)
      news += `${reads},`.repeat(1000)
      progress(room, `${reads},`.repeat(1000))
      room.clock.tick()
      t.ok(room.pool.queuedBytes < 100 * 1024)
      guest.transport.drain()
    }
    t.equal(guest.overflows, 0)
    t.ok(guest.transport.pings.length >= 7, `${guest.transport.pings.length} pings`)
    t.equal(textSeen(guest), long + news)
    t.equal(guest.subscriber.replays, undefined)
    t.end()
  })

  t.test('that was behind gets the text of replaced progress in pieces too', (t) => {
    const room = new Room()
    const guest = room.enter()
    join(room, guest)
    guest.transport.stall()
    for (let at = 0; at < 100; at++) {
      progress(room, `${at},`.repeat(1000))
      room.clock.tick()
    }
    t.equal(room.pool.collapsed, 99)
    guest.transport.stalled = false
    guest.transport.drain()
    t.equal(textSeen(guest), Array.from({ length: 100 }, (_, at) => `${at},`.repeat(1000)).join(''))
    t.ok(guest.transport.texts.every((text) => text.length < 64 * 1024))
    t.ok(guest.transport.texts.length > 20)
    t.end()
  })

  t.test('that leaves one session still gets the replay of another', (t) => {
    const room = new Room()
    for (const name of ['s', 'other']) progress(room, long, name)
    const guest = room.enter()
    guest.transport.stall()
    for (const name of ['s', 'other']) join(room, guest, name)
    t.equal(guest.subscriber.replays?.size, 2)
    room.leave(guest, 's')
    t.equal(guest.subscriber.replays?.size, 1)
    guest.transport.stalled = false
    guest.transport.drain()
    t.equal(guest.transport.texts.length, 2 + 50)
    t.equal(textSeen(guest), long)
    t.end()
  })

  t.test('that is dropped in the middle of a replay keeps no memory', (t) => {
    const room = new Room()
    progress(room, long)
    const guest = room.enter()
    guest.transport.stall()
    join(room, guest)
    room.hub.drop(guest.subscriber)
    t.equal(guest.subscriber.replays, undefined)
    t.equal(room.pool.queuedBytes, 0)
    t.end()
  })
  t.end()
})
