import t from 'tap'
import type { Joined, Publication, Stream } from '../../../lib/streams/broker.js'
import { isPromise } from '../../../lib/util/maybe-promise.js'
import { ManualBroker, settled } from '../../support/manual-broker.js'
import { Room, streamOf } from '../../support/room.js'

function farRoom (): { room: Room<ManualBroker>, broker: ManualBroker, take: (name: string, body: string) => Publication } {
  const broker = new ManualBroker()
  const room = new Room({ broker })
  return { room, broker, take: (name, body) => broker.take(streamOf(name), body, { durable: false }) }
}

t.test('a join is synchronous if the broker is', (t) => {
  const room = new Room()
  const guest = room.enter()
  t.notOk(isPromise(room.join(guest, 'a', 'b')))
  room.clock.tick()
  t.strictSame(guest.transport.texts, ['hello a:0 b:0'])
  t.end()
})

t.test('while the broker\'s result is pending', (t) => {
  t.test('publications are queued, and follow the reply', async (t) => {
    const { room, broker } = farRoom()
    const guest = room.enter()
    const joined = room.join(guest, 'a')
    const [join] = broker.joins
    const answered = join!.answer()
    t.equal(room.publish('a', '1'), 1, 'it counts as a recipient')
    t.equal(room.publish('a', '2'), 1)
    room.clock.tick()
    t.strictSame(guest.transport.texts, [])
    await answered
    await joined
    room.publish('a', '3')
    room.clock.tick()
    t.strictSame(guest.transport.texts, ['hello a:0', '1', '2', '3'])
  })

  t.test('publications that the result covers are not sent again', async (t) => {
    const { room, broker } = farRoom()
    const guest = room.enter()
    room.join(guest, 'a')
    room.publish('a', 'covered')
    room.publish('a', 'covered too')
    const answered = broker.joins[0]!.answer()
    room.publish('a', '3')
    await answered
    room.clock.tick()
    t.strictSame(guest.transport.texts, ['hello a:0', '3'])
  })

  t.test('missed messages are sent between the reply and the queued publications', async (t) => {
    const { room, broker, take } = farRoom()
    const guest = room.enter()
    const missed = [take('a', '{"n":1}'), take('a', '{"n":2}')]
    const since = { epoch: 'far.0', seq: 0 }
    const joined = room.hub.join(guest.subscriber, [{ stream: streamOf('a'), since }], (joined) => {
      t.strictSame(joined.get(streamOf('a'))?.replay, missed)
      return 'hello'
    })
    t.strictSame(broker.joins[0]!.since, since)
    room.publish('a', '{"n":3}')
    missed.push({ body: '{"n":3}', durable: false, revision: 3 })
    const answered = broker.joins[0]!.answer({ recovered: true, replay: missed })
    room.publish('a', 'live')
    await answered
    await joined
    room.clock.tick()
    t.strictSame(guest.transport.texts, ['hello', ...[1, 2, 3].map((n) => `{"n":${n},"replayed":"missed"}`), 'live'])
  })

  t.test('the snapshot is sent with its numbers if the recovery fails', async (t) => {
    const { room, broker } = farRoom()
    const guest = room.enter()
    const state = [{ body: '{"type":"ai_start"}', durable: true, seq: 7, revision: 20 }, { body: '{"type":"ai_progress"}', durable: false, revision: 31 }]
    room.join(guest, 'a')
    await broker.joins[0]!.answer({ seq: 7, reason: 'expired', replay: state })
    room.clock.tick()
    t.strictSame(guest.transport.texts, ['hello a:7', '{"type":"ai_start","seq":7,"replayed":"snapshot"}', '{"type":"ai_progress","replayed":"snapshot"}'])
  })

  t.test('other sessions and direct replies continue, in the order of the calls', async (t) => {
    const { room, broker } = farRoom()
    const guest = room.enter()
    room.join(guest, 'a')
    await broker.joins[0]!.answer()
    room.join(guest, 'b')
    room.publish('b', '3, kept')
    room.publish('a', '1')
    room.tell(guest, '2')
    room.clock.tick()
    t.strictSame(guest.transport.texts, ['hello a:0', '1', '2'])
    room.publish('a', 'before the answer')
    await broker.joins[1]!.answer({ revision: 0 })
    room.publish('a', '4')
    room.publish('b', '5')
    room.clock.tick()
    t.strictSame(guest.transport.texts.slice(3), ['before the answer', 'hello b:0', '3, kept', '4', '5'])
  })

  t.test('existing subscribers are not delayed', async (t) => {
    const { room, broker } = farRoom()
    const [early, late] = [room.enter(), room.enter()]
    room.join(early, 'a')
    await broker.joins[0]!.answer()
    room.join(late, 'a')
    t.equal(room.publish('a', '1'), 2)
    room.clock.tick()
    t.strictSame(early.transport.texts, ['hello a:0', '1'])
    await broker.joins[1]!.answer({ revision: 0 })
    room.clock.tick()
    t.strictSame(late.transport.texts, ['hello a:0', '1'])
    t.equal(room.hub.count(streamOf('a')), 2)
  })

  t.test('a publication of the tick in which the join completes is sent once', async (t) => {
    const { room, broker } = farRoom()
    const [early, late] = [room.enter(), room.enter()]
    room.join(early, 'a')
    await broker.joins[0]!.answer()
    room.join(late, 'a')
    room.publish('a', '1')
    await broker.joins[1]!.answer({ revision: 0 })
    room.publish('a', '2')
    room.clock.tick()
    t.strictSame(early.transport.texts, ['hello a:0', '1', '2'])
    t.strictSame(late.transport.texts, ['hello a:0', '1', '2'])
  })
  t.end()
})

t.test('several streams at once', (t) => {
  t.test('are joined together after the last result, with one reply', async (t) => {
    const { room, broker } = farRoom()
    const guest = room.enter()
    const joined = room.join(guest, 'a', 'b', 'c')
    room.publish('c', 'c1')
    room.publish('a', 'a1')
    await broker.joins[1]!.answer()
    await broker.joins[2]!.answer({ revision: 0 })
    room.publish('b', 'b1')
    room.clock.tick()
    t.strictSame(guest.transport.texts, [])
    await broker.joins[0]!.answer({ revision: 0 })
    await joined
    room.publish('c', 'c2')
    room.publish('b', 'b2')
    room.clock.tick()
    t.strictSame(guest.transport.texts, ['hello a:0 b:0 c:0', 'a1', 'b1', 'c1', 'c2', 'b2'])
  })

  t.test('a stream that is left meanwhile has no result, the others do', async (t) => {
    const { room, broker } = farRoom()
    const guest = room.enter()
    room.join(guest, 'a', 'b')
    room.leave(guest, 'a')
    t.strictSame(broker.left, ['session:a'])
    t.equal(room.publish('a', 'unseen'), 0)
    for (const join of broker.joins) await join.answer()
    room.publish('b', '1')
    room.clock.tick()
    t.strictSame(guest.transport.texts, ['hello b:0', '1'])
  })

  t.test('a stream named twice is subscribed once', async (t) => {
    for (const inProcess of [true, false]) {
      const far = farRoom()
      const room = inProcess ? new Room() : far.room
      const guest = room.enter()
      const joined = room.join(guest, 'a', 'a')
      if (!inProcess) room.publish('a', '{"n":0}')
      for (const join of far.broker.joins) await join.answer({ revision: 0 })
      await joined
      room.publish('a', '{"n":1}')
      room.clock.tick()
      t.strictSame(guest.transport.texts, ['hello a:0', ...(inProcess ? [] : ['{"n":0}']), '{"n":1}'])
      room.leave(guest, 'a')
      t.equal(room.publish('a', 'unseen'), 0)
      room.clock.tick()
      t.equal(guest.transport.texts.at(-1), '{"n":1}')
    }
  })

  t.test('an empty list is joined without a reply', (t) => {
    const room = new Room()
    const guest = room.enter()
    room.join(guest)
    room.clock.tick()
    t.strictSame(guest.transport.texts, [])
    t.end()
  })
  t.end()
})

t.test('a subscribed stream can be joined again', (t) => {
  t.test('for a new reply, and stays subscribed once', async (t) => {
    const { room, broker } = farRoom()
    const guest = room.enter()
    room.join(guest, 'a')
    await broker.joins[0]!.answer()
    room.join(guest, 'a')
    room.publish('a', '1')
    await broker.joins[1]!.answer({ seq: 5 })
    t.equal(room.publish('a', '2'), 1)
    room.clock.tick()
    t.strictSame(guest.transport.texts, ['hello a:0', '1', 'hello a:5', '2'])
    room.leave(guest, 'a')
    t.equal(room.hub.count(streamOf('a')), 0)
  })

  t.test('unless it is left meanwhile, which sends no reply and no message', async (t) => {
    const { room, broker } = farRoom()
    const guest = room.enter()
    room.join(guest, 'a')
    await broker.joins[0]!.answer()
    room.join(guest, 'a')
    room.leave(guest, 'a')
    await broker.joins[1]!.answer()
    room.publish('a', 'unseen')
    room.clock.tick()
    t.strictSame(guest.transport.texts, ['hello a:0'])
    t.strictSame(broker.left, ['session:a'])
  })

  t.test('and stays subscribed if the broker fails', async (t) => {
    const { room, broker } = farRoom()
    const guest = room.enter()
    room.join(guest, 'a')
    await broker.joins[0]!.answer()
    const again = Promise.resolve(room.join(guest, 'a'))
    await Promise.all([t.rejects(again, { message: 'far away' }), broker.joins[1]!.fail(new Error('far away'))])
    room.publish('a', '1')
    room.clock.tick()
    t.strictSame(guest.transport.texts, ['hello a:0', '1'])
    t.strictSame(broker.left, [])
  })

  t.test('even before the first result, and the later join counts', async (t) => {
    const { room, broker } = farRoom()
    const guest = room.enter()
    room.join(guest, 'a')
    room.publish('a', 'covered')
    room.join(guest, 'a')
    await broker.joins[0]!.answer()
    room.publish('a', '2')
    room.clock.tick()
    t.strictSame(guest.transport.texts, [])
    await broker.joins[1]!.answer({ seq: 9, revision: 1 })
    room.clock.tick()
    t.strictSame(guest.transport.texts, ['hello a:9', '2'])
  })
  t.end()
})

t.test('a join that ends before the result', (t) => {
  t.test('by leaving sends no reply and no message, and leaves the broker\'s stream', async (t) => {
    const { room, broker } = farRoom()
    const guest = room.enter()
    const joined = room.join(guest, 'a')
    room.publish('a', 'unseen')
    room.leave(guest, 'a')
    t.strictSame(broker.left, ['session:a'])
    await broker.joins[0]!.answer()
    await joined
    t.equal(room.publish('a', 'unseen'), 0)
    room.clock.tick()
    t.strictSame(guest.transport.writes, [])
    t.strictSame(broker.left, ['session:a'], 'once')
  })

  t.test('by leaving and joining again uses only the second result', async (t) => {
    const { room, broker } = farRoom()
    const guest = room.enter()
    room.join(guest, 'a')
    room.publish('a', 'unseen')
    room.leave(guest, 'a')
    room.join(guest, 'a')
    room.publish('a', '1')
    await broker.joins[0]!.answer({ seq: 1 })
    room.clock.tick()
    t.strictSame(guest.transport.texts, [])
    await broker.joins[1]!.answer({ seq: 2, revision: 1 })
    room.publish('a', '2')
    room.clock.tick()
    t.strictSame(guest.transport.texts, ['hello a:2', '1', '2'])
  })

  for (const ending of ['drop', 'finish'] as const) {
    t.test(`by a closed connection (${ending}) sends nothing and leaves nothing behind`, async (t) => {
      const { room, broker } = farRoom()
      const guest = room.enter()
      const joined = room.join(guest, 'a', 'b')
      room.hub[ending](guest.subscriber, () => undefined)
      room.publish('a', 'unseen')
      for (const join of broker.joins) await join.answer()
      await joined
      room.publish('a', 'unseen')
      room.clock.tick()
      t.strictSame(guest.transport.writes, [])
      t.equal(room.hub.count(streamOf('a')), 0)
      t.strictSame(broker.left, ['session:a', 'session:b'])
    })
  }
  t.end()
})

t.test('a broker that fails', (t) => {
  t.test('rejects the join, creates no subscription, and gets a leave', async (t) => {
    const { room, broker } = farRoom()
    const guest = room.enter()
    const joined = Promise.resolve(room.join(guest, 'a', 'b'))
    room.publish('a', 'unseen')
    const [a, b] = broker.joins
    await Promise.all([t.rejects(joined, { message: 'far away' }), b!.fail(new Error('far away'))])
    t.equal(room.publish('a', 'unseen'), 0)
    t.strictSame(broker.left, ['session:a', 'session:b'])
    await a!.answer()
    room.tell(guest, 'error')
    room.clock.tick()
    t.strictSame(guest.transport.texts, ['error'])
  })

  t.test('does not affect other subscribers of the stream, pending or not', async (t) => {
    const { room, broker } = farRoom()
    const [there, coming, failing] = [room.enter(), room.enter(), room.enter()]
    room.join(there, 'a')
    await broker.joins[0]!.answer()
    room.join(coming, 'a')
    const joined = Promise.resolve(room.join(failing, 'a'))
    await Promise.all([t.rejects(joined, { message: 'far away' }), broker.joins[2]!.fail(new Error('far away'))])
    await broker.joins[1]!.answer()
    room.publish('a', '1')
    room.clock.tick()
    for (const { transport } of [there, coming]) t.strictSame(transport.texts, ['hello a:0', '1'])
    t.strictSame(failing.transport.texts, [])
    t.strictSame(broker.left, [])
  })

  t.test('can also throw synchronously', async (t) => {
    const unhandled: unknown[] = []
    const note = (reason: unknown): void => { unhandled.push(reason) }
    process.on('unhandledRejection', note)
    t.teardown(() => { process.off('unhandledRejection', note) })

    const { room, broker } = farRoom()
    const guest = room.enter()
    const join = t.capture(broker, 'join', (stream: Stream): Promise<Joined> => {
      if (stream === 'session:b') throw new Error('far away')
      return Promise.reject(new Error('far away, and nobody listens any more'))
    })
    t.throws(() => room.join(guest, 'a', 'b', 'c'), { message: 'far away' })
    t.equal(join().length, 2)
    t.equal(room.publish('a', 'unseen'), 0)
    t.equal(room.hub.count(streamOf('c')), 0)
    await settled()
    t.strictSame(unhandled, [])
    room.clock.tick()
    t.strictSame(guest.transport.texts, [])
  })
  t.end()
})

t.test('the hub leaves the broker\'s stream after the last subscriber, and not before', async (t) => {
  const { room, broker } = farRoom()
  const guests = [room.enter(), room.enter(), room.enter()] as const
  for (const guest of guests) room.join(guest, 'a')
  for (const join of broker.joins.slice(0, 2)) await join.answer()
  room.leave(guests[0], 'a')
  room.hub.drop(guests[1].subscriber)
  t.strictSame(broker.left, [], 'one join is still pending')
  room.leave(guests[2], 'a')
  t.strictSame(broker.left, ['session:a'])
  room.leave(guests[2], 'a')
  t.strictSame(broker.left, ['session:a'])
})
