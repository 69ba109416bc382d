import t from 'tap'
import type { Position, PublishOptions, Stream } from '../../../lib/streams/broker.js'
import { Frame } from '../../../lib/delivery/frame.js'
import { durable, report } from '../../../lib/testing/reports.js'
import { FakeClock } from '../../support/fake-clock.js'
import { HandBroker, turn } from '../../support/hand-broker.js'
import { memoryBroker, type Bounds } from '../../support/memory-broker.js'
import { press, PRESSED_BYTES } from '../../support/press.js'
import { Room, streamOf, type Guest } from '../../support/room.js'

const DAY_MS = 86_400_000
const note = (name: string): string => JSON.stringify({ note: name })

/** Rejoins a stream. The reply contains the result: `session:a 1/2 recovered`. */
function comeBack (room: Pick<Room, 'hub'>, { subscriber }: Guest, requests: Array<{ stream: Stream, since?: Position, have?: ReadonlyMap<string, number> }>): void {
  void room.hub.join(subscriber, requests, (joined) => [...joined].map(([stream, { seq, replay, recovered, reason = '' }]) =>
    `${stream} ${seq}, ${replay.length} ${recovered ? 'recovered' : reason}`).join('; '))
}

/** The messages that a guest was sent after the reply. Notes are shortened to name and number. */
function sent ({ transport }: Guest): string[] {
  return transport.texts.map((text) => {
    if (!text.startsWith('{"note"')) return text
    const { note, seq, userSeq } = JSON.parse(text) as { note: string, seq?: number, userSeq?: number }
    return `${note.trim()} ${seq ?? userSeq ?? ''}`
  })
}

/** A room with a remote broker, whose delays the test controls. */
function farRoom (bounds?: Bounds): { room: Room<HandBroker>, broker: HandBroker, clock: FakeClock, publish: (name: string, stream?: string, options?: PublishOptions) => void } {
  const clock = new FakeClock()
  const broker = new HandBroker(clock, bounds)
  const room = new Room({ broker })
  return {
    room,
    broker,
    clock,
    publish: (name, stream = 'a', options = durable) => {
      void broker.publish(streamOf(stream), note(name), options)
      broker.answer(`publish ${streamOf(stream)}`)
    }
  }
}

t.test('a reconnecting client gets the reply, then the missed messages with their numbers, then new ones', (t) => {
  const room = new Room()
  const since = room.broker.publish(streamOf('a'), note('had'), durable)
  for (const name of ['missed', 'too']) room.publish('a', note(name), durable)
  const guest = room.enter()
  comeBack(room, guest, [{ stream: streamOf('a'), since }])
  room.publish('a', note('live'), durable)
  room.clock.tick()
  t.strictSame(sent(guest), ['session:a 3, 2 recovered', 'missed 2', 'too 3', 'live 4'])
  t.end()
})

t.test('a missed message is framed once for all reconnecting clients', (t) => {
  const room = new Room()
  const since = room.broker.join(streamOf('a'))
  const subscriber = room.enter()
  comeBack(room, subscriber, [{ stream: streamOf('a') }])
  room.publish('a', note('one'), durable)
  room.clock.tick()
  const frames = new Set<unknown>()
  for (const guest of [room.enter(), room.enter()]) {
    comeBack(room, guest, [{ stream: streamOf('a'), since }])
    room.clock.tick()
    t.strictSame(sent(guest), ['session:a 1, 1 recovered', 'one 1'])
    frames.add(room.broker.join(streamOf('a'), { since }).replay[0]?.recoveryFrame)
  }
  t.strictSame([...frames].map((frame) => frame instanceof Frame), [true])
  t.end()
})

t.test('replayed messages are marked, and live ones are not', (t) => {
  const room = new Room()
  const body = '{"type":"ai_progress","progress":{}}'
  const progress = report('progress', { jobId: 'j' })
  const { epoch } = room.broker.publish(streamOf('a'), '{"type":"ai_start"}', report('start', { jobId: 'j' }))
  room.publish('a', note('note'), durable)
  room.publish('a', body, { ...progress, delta: 'x'.repeat(11_000) })
  const marks = ({ transport }: Guest): unknown[] => transport.texts.splice(0).slice(1).map((text) => {
    const { note, type, replayed } = JSON.parse(text) as { note?: string, type?: string, replayed?: string }
    return `${note ?? type}: ${replayed ?? 'live'}`
  })
  const seen: unknown[] = []
  for (const since of [undefined, { epoch, seq: 1 }, { epoch, seq: 7 }]) {
    const guest = room.enter()
    comeBack(room, guest, [{ stream: streamOf('a'), ...(since !== undefined && { since }) }])
    room.publish('a', note('while it is sent'), { durable: false })
    room.clock.tick()
    seen.push(marks(guest))
    room.hub.drop(guest.subscriber)
  }
  const live = 'while it is sent: live'
  const snapshot = ['ai_start: snapshot', 'ai_progress: snapshot', 'ai_progress: snapshot', live]
  t.strictSame(seen, [snapshot, ['note: missed', 'ai_progress: missed', 'ai_progress: missed', live], snapshot])
  t.end()
})

t.test('a message that arrives during a pending join is live', async (t) => {
  const { room, broker, publish } = farRoom()
  publish('past')
  const guest = room.enter()
  comeBack(room, guest, [{ stream: streamOf('a'), since: { epoch: 'none', seq: 0 } }])
  broker.answer('join session:a')
  publish('meanwhile')
  await turn()
  room.clock.tick()
  t.match(guest.transport.texts.at(-1), '"seq":2')
  t.notMatch(guest.transport.texts.at(-1), /replayed/)
})

t.test('merged text for a slow client is live, even if another client gets the same pieces as a replay', (t) => {
  const room = new Room()
  const body = '{"type":"ai_progress","progress":{}}'
  const say = (delta: string): void => { room.publish('a', body, { ...report('progress', { jobId: 'j' }), delta }) }
  const [slow, late] = [room.enter(), room.enter()]
  comeBack(room, slow, [{ stream: streamOf('a') }])
  room.clock.tick()
  slow.transport.stall()
  for (let n = 0; n < 30; n++) {
    say(String(n).repeat(1_000))
    room.clock.tick()
  }
  comeBack(room, late, [{ stream: streamOf('a') }])
  room.clock.tick()
  slow.transport.stalled = false
  slow.transport.drain()
  t.ok(slow.transport.texts.length > 3)
  t.notOk(slow.transport.texts.some((text) => text.includes('replayed')))
  t.ok(late.transport.texts.slice(1).every((text) => text.includes('"replayed":"snapshot"')))
  t.end()
})

t.test('two connections of one user each get what they missed, and their stream is kept until both are closed', (t) => {
  const room = new Room()
  const stream = 'user:one' as const
  const start = room.broker.publish(stream, note('first'), durable)
  const left: Stream[] = []
  t.capture(room.broker, 'leave', (stream: Stream) => { left.push(stream) })
  const [early, late] = [room.enter(), room.enter()]
  comeBack(room, early, [{ stream, since: start }])
  room.broker.publish(stream, note('second'), durable)
  room.clock.tick()
  comeBack(room, late, [{ stream, since: { ...start, seq: 0 } }])
  room.broker.publish(stream, note('third'), durable)
  room.clock.tick()
  t.strictSame(sent(early), ['user:one 1, 0 recovered', 'second 2', 'third 3'])
  t.strictSame(sent(late), ['user:one 2, 2 recovered', 'first 1', 'second 2', 'third 3'])
  t.match(early.transport.texts.at(-1), '"userSeq":3', 'a user\'s numbers have a name of their own')
  room.hub.drop(early.subscriber)
  t.strictSame(left, [])
  room.broker.publish(stream, note('fourth'), durable)
  room.clock.tick()
  t.strictSame(sent(late).at(-1), 'fourth 4')
  t.equal(early.transport.texts.length, 3)
  room.hub.drop(late.subscriber)
  t.strictSame(left, [stream])
  t.end()
})

t.test('a job\'s text for a reconnecting client', (t) => {
  const say = (room: Room, chunks: number, delta?: string): void => {
    const body = `{"type":"ai_progress","timestamp":"now","progress":{"chunks":${chunks}}}`
    room.publish('a', body, { ...report('progress', { jobId: 'j' }), ...(delta !== undefined && { delta }) })
  }
  const progressOf = (guest: Guest): unknown => JSON.parse(guest.transport.texts.at(-1)!)

  t.test('begins at the end of what the client has', (t) => {
    const room = new Room()
    say(room, 1, 'one ')
    say(room, 2, 'two')
    const held: Array<[have: number | undefined, piece: object]> = [
      [undefined, { delta: 'one two', offset: 0 }],
      [0, { delta: 'one two', offset: 0 }],
      [4, { delta: 'two', offset: 4 }],
      [7, {}],
      [8, { delta: 'one two', offset: 0 }]
    ]
    for (const [have, piece] of held) {
      const guest = room.enter()
      comeBack(room, guest, [{ stream: streamOf('a'), ...(have !== undefined && { have: new Map([['j', have]]) }) }])
      room.clock.tick()
      t.strictSame(progressOf(guest), {
        type: 'ai_progress', progress: { chunks: 2, ...piece }, timestamp: 'now', jobId: 'j', replayed: 'snapshot'
      }, String(have))
    }
    t.end()
  })

  t.test('is inserted into an empty progress too', (t) => {
    const room = new Room()
    const guest = room.enter()
    comeBack(room, guest, [{ stream: streamOf('a') }])
    room.publish('a', '{"progress":{}}', { ...report('progress', { jobId: 'j' }), delta: 'x"y' })
    room.clock.tick()
    t.strictSame(guest.transport.texts.slice(1), ['{"progress":{"delta":"x\\"y","offset":0},"jobId":"j"}'])
    t.end()
  })

  t.test('without its beginning is marked as truncated', (t) => {
    const room = new Room({ broker: memoryBroker(new FakeClock(), { maxTextUnits: 8 }) })
    say(room, 1, 'abcdefghijkl')
    const guest = room.enter()
    comeBack(room, guest, [{ stream: streamOf('a') }])
    room.clock.tick()
    t.strictSame(progressOf(guest), {
      type: 'ai_progress', progress: { chunks: 1, delta: 'fghijkl', offset: 5, truncated: true }, timestamp: 'now', jobId: 'j', replayed: 'snapshot'
    })
    t.end()
  })

  t.test('and a real end is marked with supersedes', (t) => {
    const room = new Room()
    const guest = room.enter()
    comeBack(room, guest, [{ stream: streamOf('a') }])
    room.publish('a', '{"type":"ai_error"}', report('error', { jobId: 'j' }))
    room.publish('a', '{"type":"ai_start"}', report('start', { jobId: 'k' }))
    room.publish('a', '{"type":"ai_error"}', report('error', { jobId: 'k', presumed: true }))
    room.publish('a', '{"type":"ai_complete"}', report('complete', { jobId: 'k' }))
    room.clock.tick()
    t.strictSame(guest.transport.texts.slice(1), [
      '{"type":"ai_error","jobId":"j","seq":1}', '{"type":"ai_start","jobId":"k","seq":2}', '{"type":"ai_error","jobId":"k","seq":3}',
      '{"type":"ai_complete","jobId":"k","supersedes":true,"seq":4}'
    ])
    t.end()
  })
  t.end()
})

t.test('a replay does not make a slow consumer of a client that has caught up before it', (t) => {
  for (const catchesUp of [false, true]) {
    const room = new Room({ maxOutboxBytes: 100 * 1024 })
    const { epoch } = room.broker.join(streamOf('a'))
    for (let i = 0; i < 30; i++) room.publish('a', `{"n":"${'.'.repeat(10 * 1024)}"}`, { durable: true })
    const guest = room.enter()
    room.join(guest, 'b')
    guest.transport.stalled = true
    for (const text of ['x'.repeat(70 * 1024), 'behind']) room.tell(guest, text)
    room.clock.tick()
    comeBack(room, guest, [{ stream: streamOf('a'), since: { epoch, seq: 0 } }])
    if (catchesUp) guest.transport.drain()
    room.clock.tick()
    t.equal(guest.overflows, 0)
    guest.transport.stalled = false
    guest.transport.drain()
    t.equal(guest.transport.texts.length, 3 + 1 + 30)
  }
  t.end()
})

t.test('races', (t) => {
  t.test('publish between read and join: the message arrives once, after the missed ones', async (t) => {
    const { room, broker, publish } = farRoom()
    const since = broker.join(streamOf('a'))
    broker.answer()
    publish('missed')
    const guest = room.enter()
    comeBack(room, guest, [{ stream: streamOf('a'), since: await since }])
    publish('just before the read')
    broker.answer('join session:a')
    publish('just after the read')
    await turn()
    publish('live')
    room.clock.tick()
    t.strictSame(sent(guest), [
      'session:a 2, 2 recovered', 'missed 1', 'just before the read 2', 'just after the read 3', 'live 4'
    ])
  })

  for (const [what, bounds, befall] of [
    ['expiry during replay', {}, ({ clock }: ReturnType<typeof farRoom>) => { clock.advance(DAY_MS + 60_000) }],
    ['eviction of the stream being replayed', { maxTotalBytes: PRESSED_BYTES }, ({ broker }: ReturnType<typeof farRoom>) => {
      press((stream, body, options) => {
        void broker.publish(stream, body, options)
        broker.answer(`publish ${stream}`)
      }, 'messages')
    }]
  ] as const) {
    t.test(`${what}: the announced replay is still sent, and the next client gets the failure`, async (t) => {
      const far = farRoom(bounds)
      const { room, broker, publish } = far
      const since = broker.join(streamOf('a'))
      broker.answer()
      for (const name of ['missed', 'too']) publish(name)
      const [guest, next] = [room.enter(), room.enter()]
      const position = await since
      // Both streams are joined together, so the first result waits for the second.
      comeBack(room, guest, [{ stream: streamOf('a'), since: position }, { stream: streamOf('b') }])
      broker.answer('join session:a')
      befall(far)
      publish('meanwhile')
      broker.answer('join session:b')
      await turn()
      room.clock.tick()
      t.strictSame(sent(guest), ['session:a 2, 2 recovered; session:b 0, 0 new', 'missed 1', 'too 2', 'meanwhile 3'])
      comeBack(room, next, [{ stream: streamOf('a'), since: position }])
      broker.answer()
      await turn()
      room.clock.tick()
      t.strictSame(sent(next), ['session:a 3, 0 expired'])
    })
  }

  t.test('epoch change during replay: none while a join is pending, and after a drop the client gets the failure', async (t) => {
    const { room, broker, clock, publish } = farRoom({ maxStreams: 1 })
    const first = broker.join(streamOf('a'))
    broker.answer()
    publish('missed')
    const since = await first
    const guest = room.enter()
    comeBack(room, guest, [{ stream: streamOf('a'), since }, { stream: streamOf('b') }])
    broker.answer('join session:a')
    clock.advance(2 * DAY_MS)
    for (let i = 0; i < 20; i++) publish('x', `other ${i}`)
    const meanwhile = broker.join(streamOf('a'))
    broker.answer('join session:a')
    t.equal((await meanwhile).epoch, since.epoch)
    broker.answer('join session:b')
    await turn()
    publish('live')
    room.clock.tick()
    t.strictSame(sent(guest), ['session:a 1, 1 recovered; session:b 0, 0 new', 'missed 1', 'live 2'])

    room.hub.drop(guest.subscriber)
    clock.advance(2 * DAY_MS)
    publish('of a new life')
    const again = room.enter()
    comeBack(room, again, [{ stream: streamOf('a'), since: { ...since, seq: 1 } }])
    broker.answer()
    await turn()
    publish('live')
    room.clock.tick()
    t.strictSame(sent(again), ['session:a 1, 0 restarted', 'live 2'], 'and the new numbers are not mistaken for the old ones')
  })

  t.test('a drop in the middle of the replay: the next replay continues after the received messages', async (t) => {
    const { room, broker, publish } = farRoom()
    const first = broker.join(streamOf('a'))
    broker.answer()
    const since = await first
    for (const name of ['1', '2', '3', '4']) publish(name.padEnd(40_000))
    const guest = room.enter()
    guest.transport.stalled = true
    comeBack(room, guest, [{ stream: streamOf('a'), since }])
    broker.answer()
    await turn()
    room.clock.tick()
    room.hub.drop(guest.subscriber)
    const delivered = sent(guest).length - 1
    t.ok(delivered > 0 && delivered < 4, `it had ${delivered} of them`)
    publish('5')
    const again = room.enter()
    comeBack(room, again, [{ stream: streamOf('a'), since: { ...since, seq: delivered } }])
    broker.answer()
    await turn()
    room.clock.tick()
    t.strictSame([...sent(guest).slice(1), ...sent(again).slice(1)], ['1 1', '2 2', '3 3', '4 4', '5 5'])
  })
  t.end()
})
