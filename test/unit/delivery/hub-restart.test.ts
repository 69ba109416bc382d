import t from 'tap'
import { ManualBroker, settled } from '../../support/manual-broker.js'
import { Room, streamOf, type Guest } from '../../support/room.js'

// The broker has lost history of a stream: its subscribers get their new position and a snapshot.

const a = streamOf('a')
const texts = ({ transport }: Guest): string[] => transport.texts
const numbered = (type: string, seq: number, revision: number): object => ({ body: `{"type":"${type}"}`, durable: true, seq, revision })

/** A room with a guest who is subscribed to `a`. */
async function withGuest (): Promise<{ room: Room<ManualBroker>, broker: ManualBroker, guest: Guest }> {
  const broker = new ManualBroker()
  const room = new Room({ broker })
  const guest = room.enter()
  room.join(guest, 'a')
  await broker.joins[0]!.answer()
  room.clock.tick()
  return { room, broker, guest }
}

t.test('each subscriber gets what was delivered before, the reply, the snapshot, and what was published meanwhile', async (t) => {
  const { room, broker, guest } = await withGuest()
  const second = room.enter()
  room.join(second, 'a')
  await broker.joins[1]!.answer()
  room.publish('a', 'before')
  const restarted = room.restart(a)
  t.equal(broker.joins.length, 3, 'one join is enough for all')
  t.equal(broker.joins[2]!.since, undefined)
  room.publish('a', 'meanwhile')
  t.equal(room.hub.count(a), 2, 'they still count as recipients')
  await broker.joins[2]!.answer({ epoch: 'new', seq: 4, revision: 1, replay: [numbered('ai_start', 3, 1) as never] })
  await restarted
  room.publish('a', 'after')
  room.clock.tick()
  for (const each of [guest, second]) {
    t.strictSame(texts(each), ['hello a:0', 'before', 'again a:4 false restarted', '{"type":"ai_start","seq":3,"replayed":"snapshot"}', 'meanwhile', 'after'])
  }
})

t.test('publications that the new snapshot covers are not sent again', async (t) => {
  const { room, broker, guest } = await withGuest()
  const restarted = room.restart(a)
  room.publish('a', 'covered')
  await broker.joins[1]!.answer()
  await restarted
  room.clock.tick()
  t.strictSame(texts(guest), ['hello a:0', 'again a:0 false restarted'])
})

t.test('the rest of an old snapshot is not sent', async (t) => {
  const broker = new ManualBroker()
  const room = new Room({ broker, maxOutboxBytes: 100_000 })
  const guest = room.enter()
  guest.transport.stall()
  room.join(guest, 'a')
  const long = 'x'.repeat(50_000)
  await broker.joins[0]!.answer({ seq: 2, replay: [1, 2].map((seq) => ({ ...numbered('ai_start', seq, seq), body: `{"type":"${seq}${long}"}` })) as never })
  room.clock.tick()
  const restarted = room.restart(a)
  await broker.joins[1]!.answer({ seq: 0 })
  await restarted
  room.clock.tick()
  for (let round = 0; round < 5; round++) {
    guest.transport.drain()
    room.clock.tick()
  }
  t.equal(texts(guest).filter((text) => text.includes(long)).length < 2, true)
  t.equal(texts(guest).at(-1), 'again a:0 false restarted')
})

t.test('a join that is pending begins again, because its result may describe what is gone', async (t) => {
  const { room, broker } = await withGuest()
  const late = room.enter()
  const joined = room.join(late, 'a')
  room.publish('a', 'gone')
  const restarted = room.restart(a)
  await broker.joins[1]!.answer({ epoch: 'old', seq: 9, revision: 100 })
  t.equal(broker.joins.length, 4)
  await broker.joins[2]!.answer({ epoch: 'new', revision: 0 })
  await restarted
  room.publish('a', 'live')
  await broker.joins[3]!.answer({ epoch: 'new', seq: 1, revision: 1 })
  await joined
  room.clock.tick()
  t.strictSame(texts(late), ['hello a:1', 'live'])
})

t.test('a join of another stream does not begin again', async (t) => {
  const { room, broker } = await withGuest()
  const late = room.enter()
  const joined = room.join(late, 'b')
  const restarted = room.restart(a)
  await broker.joins[1]!.answer()
  await broker.joins[2]!.answer()
  await Promise.all([joined, restarted])
  t.equal(broker.joins.length, 3)
})

t.test('history that is lost twice is asked for again', async (t) => {
  const { room, broker, guest } = await withGuest()
  const first = room.restart(a)
  const second = room.restart(a)
  await broker.joins[1]!.answer({ seq: 5 })
  await broker.joins[2]!.answer({ seq: 6 })
  await broker.joins[3]!.answer({ seq: 7 })
  await Promise.all([first, second])
  room.clock.tick()
  t.equal(texts(guest).at(-1), 'again a:7 false restarted')
  t.equal(room.publish('a', 'live'), 1)
})

t.test('who leaves, or is closed, while the stream is joined again gets nothing more', async (t) => {
  const { room, broker, guest } = await withGuest()
  const other = room.enter()
  room.join(other, 'a')
  await broker.joins[1]!.answer()
  const restarted = room.restart(a)
  room.leave(guest, 'a')
  room.hub.drop(other.subscriber)
  t.strictSame(broker.left, [a])
  await broker.joins[2]!.answer()
  await restarted
  room.clock.tick()
  t.strictSame(texts(guest), ['hello a:0'])
  t.strictSame(texts(other), [])
  t.equal(room.hub.count(a), 0)
})

t.test('if the stream can\'t be joined, its subscribers can be told apart', async (t) => {
  const { room, broker, guest } = await withGuest()
  const elsewhere = room.enter()
  room.join(elsewhere, 'b')
  await broker.joins[1]!.answer()
  const failed = t.rejects(Promise.resolve(room.restart(a)), { message: 'away' })
  await broker.joins[2]!.fail(new Error('away'))
  await failed
  t.strictSame([guest, elsewhere].map(({ subscriber }) => room.hub.streamsOf(subscriber)), [[a], ['session:b']])
  room.hub.drop(guest.subscriber)
  t.strictSame(room.hub.streamsOf(guest.subscriber), [])
  t.strictSame(broker.left, [a])
})

t.test('a stream without subscribers needs no join', async (t) => {
  const { room, broker } = await withGuest()
  await room.restart(streamOf('b'))
  await settled()
  t.equal(broker.joins.length, 1)
})
