import t from 'tap'
import { Room, streamOf } from '../../support/room.js'

const deflate = { thresholdBytes: 1024, ceilingBytes: 256 * 1024, windowBits: 10, level: 3, memLevel: 7, chunkSize: 1024 }

t.test('a tick', (t) => {
  t.test('delivers publications to all subscribers, in one write each', (t) => {
    const room = new Room()
    const guests = [room.enter(), room.enter(), room.enter()]
    for (const guest of guests) room.join(guest, 'a')
    room.clock.tick()
    room.publish('a', '1')
    room.publish('a', '2')
    room.publish('a', '3')
    for (const { transport } of guests) t.strictSame(transport.texts, ['hello a:0'], 'not before the tick ends')
    room.clock.tick()
    for (const { transport } of guests) {
      t.strictSame(transport.texts, ['hello a:0', '1', '2', '3'])
      t.equal(transport.writes.length, 2)
    }
    t.end()
  })

  t.test('writes the same buffer to all of them, and a single frame without a copy', (t) => {
    const room = new Room()
    const guests = [room.enter(), room.enter()] as const
    for (const guest of guests) room.join(guest, 'a')
    room.clock.tick()
    room.publish('a', '1')
    room.clock.tick()
    room.publish('a', '2')
    room.publish('a', '3')
    room.clock.tick()
    const [one, two] = guests.map(({ transport }) => transport.writes)
    for (const at of [1, 2]) t.equal(one![at], two![at])
    t.strictSame(guests[0].transport.texts, ['hello a:0', '1', '2', '3'])
    t.end()
  })

  t.test('joins and compresses once for each kind of peer', (t) => {
    const room = new Room({ deflate })
    const guests = [room.enter(), room.enter(), room.enter(), room.enter()]
    for (const { transport } of guests.slice(2)) transport.inflates = true
    for (const guest of guests) room.join(guest, 'a')
    room.clock.tick()
    const concat = t.capture(Buffer, 'concat', (list: readonly Uint8Array[]) => {
      const all = new Uint8Array(list.reduce((sum, { length }) => sum + length, 0))
      let at = 0
      for (const part of list) {
        all.set(part, at)
        at += part.length
      }
      return Buffer.from(all.buffer)
    })
    const text = JSON.stringify('x'.repeat(3000))
    room.publish('a', text)
    room.publish('a', text)
    room.clock.tick()
    t.equal(concat().length, 2)
    const [a, b, c, d] = guests.map(({ transport }) => transport.writes[1]!)
    t.equal(a, b)
    t.equal(c, d)
    t.ok(a!.length > 6000)
    t.ok(c!.length < 200)
    t.end()
  })

  t.test('never changes the shared bytes', (t) => {
    const room = new Room()
    const [one, two] = [room.enter(), room.enter()]
    room.join(one, 'a')
    room.join(two, 'a', 'b')
    room.clock.tick()
    room.publish('a', '{"from":"a"}', { durable: true })
    room.publish('b', '{"from":"b"}', { durable: true })
    room.tell(one, 'for one')
    room.clock.tick()
    const copies = one.transport.writes.map((bytes) => Buffer.from(bytes))
    room.publish('a', '{"later":true}', { durable: true })
    room.tell(two, 'for two')
    room.clock.tick()
    copies.forEach((copy, at) => t.ok(one.transport.writes[at]!.equals(copy)))
    t.end()
  })

  t.test('is flushed once, however much happened, and not if nothing happened', (t) => {
    const room = new Room()
    const ends = t.capture(room.clock, 'endOfTick', room.clock.endOfTick.bind(room.clock))
    const guest = room.enter()
    room.publish('nobody', '1')
    t.equal(ends().length, 0)
    room.join(guest, 'a')
    room.publish('a', '1')
    room.tell(guest, '2')
    room.leave(guest, 'a')
    t.equal(ends().length, 1)
    room.clock.tick()
    t.equal(ends().length, 0)
    room.tell(guest, '3')
    t.equal(ends().length, 1)
    t.end()
  })
  t.end()
})

t.test('the order on a connection is that of the calls', (t) => {
  t.test('with direct replies between the publications', (t) => {
    const room = new Room()
    const [asking, quiet] = [room.enter(), room.enter()]
    room.join(asking, 'a')
    room.join(quiet, 'a')
    room.clock.tick()
    room.tell(asking, 'before')
    room.publish('a', '1')
    room.tell(asking, 'pong')
    room.tell(asking, 'pong again')
    room.publish('a', '2')
    room.publish('a', '3')
    room.tell(asking, 'pong at last')
    room.publish('a', '4')
    room.clock.tick()
    t.strictSame(asking.transport.texts.slice(1), ['before', '1', 'pong', 'pong again', '2', '3', 'pong at last', '4'])
    t.strictSame(quiet.transport.texts.slice(1), ['1', '2', '3', '4'])
    t.equal(asking.transport.writes.length, 2)
    t.end()
  })

  t.test('across all of its sessions, in one write', (t) => {
    const room = new Room()
    const [all, some] = [room.enter(), room.enter()]
    room.join(all, 'a', 'b', 'c')
    room.join(some, 'c', 'b')
    room.clock.tick()
    for (const [name, body] of [['b', '1'], ['a', '2'], ['c', '3'], ['a', '4'], ['b', '5'], ['a', '6']] as const) room.publish(name, body)
    room.clock.tick()
    t.strictSame(all.transport.texts.slice(1), ['1', '2', '3', '4', '5', '6'])
    t.strictSame(some.transport.texts.slice(1), ['1', '3', '5'])
    t.equal(all.transport.writes.length, 2)
    t.equal(some.transport.writes.length, 2)
    t.end()
  })

  t.test('across its sessions, with direct replies in between', (t) => {
    const room = new Room()
    const guest = room.enter()
    room.join(guest, 'a', 'b')
    room.clock.tick()
    room.publish('b', '1')
    room.publish('a', '2')
    room.tell(guest, '3')
    room.publish('b', '4')
    room.publish('a', '5')
    room.clock.tick()
    t.strictSame(guest.transport.texts.slice(1), ['1', '2', '3', '4', '5'])
    t.equal(guest.transport.writes.length, 2)
    t.end()
  })

  t.test('with many sessions but publications in only one, which uses the shared bytes', (t) => {
    const room = new Room()
    const [many, one] = [room.enter(), room.enter()]
    room.join(many, ...Array.from({ length: 10 }, (_, i) => String(i)))
    room.join(one, '7')
    room.clock.tick()
    room.publish('7', '1')
    room.publish('7', '2')
    room.clock.tick()
    t.equal(many.transport.writes[1], one.transport.writes[1])
    t.end()
  })

  t.test('tick after tick, in any mixture', (t) => {
    const room = new Room()
    const guest = room.enter()
    room.join(guest, 'a', 'b')
    const expected = ['hello a:0 b:0']
    let count = 0
    for (const steps of ['a', 'ab', 'a!', '!', 'ba', 'b', '!a', 'aab!b', 'b']) {
      for (const step of steps.split('')) {
        const text = `${step}${count++}`
        expected.push(text)
        if (step === '!') room.tell(guest, text)
        else room.publish(step, text)
      }
      room.clock.tick()
      t.strictSame(guest.transport.texts, expected)
    }
    t.end()
  })
  t.end()
})

t.test('in the middle of a batch', (t) => {
  t.test('a new subscriber gets later publications and no earlier ones', (t) => {
    const room = new Room()
    const [early, late] = [room.enter(), room.enter()]
    room.join(early, 'a')
    room.publish('a', '1')
    room.join(late, 'a')
    room.publish('a', '2')
    room.clock.tick()
    room.publish('a', '3')
    room.clock.tick()
    t.strictSame(early.transport.texts, ['hello a:0', '1', '2', '3'])
    t.strictSame(late.transport.texts, ['hello a:0', '2', '3'])
    t.end()
  })

  t.test('joining a second session keeps the order of both', (t) => {
    const room = new Room()
    const guest = room.enter()
    room.join(guest, 'a')
    room.publish('a', '1')
    room.publish('b', 'unseen')
    room.join(guest, 'b')
    room.publish('b', '2')
    room.publish('a', '3')
    room.clock.tick()
    t.strictSame(guest.transport.texts, ['hello a:0', '1', 'hello b:0', '2', '3'])
    t.end()
  })

  t.test('a client that leaves still gets earlier publications, and no later ones', (t) => {
    const room = new Room()
    const [leaving, staying] = [room.enter(), room.enter()]
    room.join(leaving, 'a', 'b')
    room.join(staying, 'a')
    room.clock.tick()
    room.publish('a', '1')
    room.leave(leaving, 'a')
    room.tell(leaving, 'unsubscribed')
    room.publish('a', '2')
    room.publish('b', '3')
    room.clock.tick()
    room.publish('a', '4')
    room.clock.tick()
    t.strictSame(leaving.transport.texts.slice(1), ['1', 'unsubscribed', '3'])
    t.strictSame(staying.transport.texts.slice(1), ['1', '2', '4'])
    t.end()
  })

  t.test('the last client to leave still gets earlier publications', (t) => {
    const room = new Room()
    const guest = room.enter()
    room.join(guest, 'a')
    room.publish('a', '1')
    room.leave(guest, 'a')
    room.publish('a', 'unseen')
    room.clock.tick()
    t.strictSame(guest.transport.texts, ['hello a:0', '1'])
    t.end()
  })

  t.test('a client that leaves and rejoins misses only the publications in between', (t) => {
    const room = new Room()
    const guest = room.enter()
    room.join(guest, 'a')
    room.publish('a', '1')
    room.leave(guest, 'a')
    room.publish('a', 'unseen')
    room.join(guest, 'a')
    room.publish('a', '2')
    room.clock.tick()
    room.publish('a', '3')
    room.clock.tick()
    t.strictSame(guest.transport.texts, ['hello a:0', '1', 'hello a:0', '2', '3'])
    t.end()
  })

  t.test('leaving a stream without a subscription changes nothing', (t) => {
    const room = new Room()
    const [guest, other] = [room.enter(), room.enter()]
    room.join(guest, 'a')
    room.join(other, 'b')
    room.publish('a', '1')
    room.leave(guest, 'b')
    room.leave(guest, 'c')
    room.publish('b', '2')
    room.clock.tick()
    t.strictSame(guest.transport.texts, ['hello a:0', '1'])
    t.strictSame(other.transport.texts, ['hello b:0', '2'])
    t.end()
  })
  t.end()
})

t.test('an outgoing message', (t) => {
  t.test('has its number as the last field, named after the kind of stream', (t) => {
    const room = new Room()
    const guest = room.enter()
    room.hub.join(guest.subscriber, [{ stream: 'session:a' }, { stream: 'user:u' }, { stream: 'all' }], () => 'hello')
    room.broker.publish('session:a', '{"type":"note"}', { durable: true })
    room.broker.publish('user:u', '{"type":"note"}', { durable: true })
    room.broker.publish('session:a', '{"type":"note"}', { durable: false })
    room.broker.publish('session:a', '{"type":"note"}', { durable: true })
    room.broker.publish('all', '{"type":"note"}', { durable: false })
    room.clock.tick()
    t.strictSame(guest.transport.texts.slice(1).map((text) => JSON.parse(text) as unknown), [
      { type: 'note', seq: 1 }, { type: 'note', userSeq: 1 }, { type: 'note' }, { type: 'note', seq: 2 }, { type: 'note' }
    ])
    t.end()
  })

  t.test('collapses for a client that is behind, unless it is durable', (t) => {
    const room = new Room()
    const guest = room.enter()
    room.join(guest, 'a')
    room.clock.tick()
    guest.transport.stalled = true
    room.tell(guest, 'x'.repeat(70_000))
    room.clock.tick()
    const progress = { event: 'progress', jobId: 'j' } as const
    for (const n of [1, 2, 3]) room.publish('a', `{"progress":${n}}`, { job: progress })
    // A durable message must arrive, whatever job it is about.
    for (const event of ['complete', 'error'] as const) room.publish('a', `{"end":"${event}"}`, { durable: true, job: { event, presumed: event === 'complete', jobId: 'j' } })
    room.clock.tick()
    guest.transport.stalled = false
    guest.transport.drain()
    t.strictSame(guest.transport.texts.slice(2), [
      '{"progress":3,"jobId":"j"}', '{"end":"complete","jobId":"j","seq":1}', '{"end":"error","jobId":"j","supersedes":true,"seq":2}'
    ])
    t.end()
  })

  t.test('is framed once, and not at all without subscribers', (t) => {
    const room = new Room()
    for (let i = 0; i < 5; i++) room.join(room.enter(), 'a')
    room.clock.tick()
    const made = t.capture(Buffer, 'allocUnsafe', (size: number) => Buffer.alloc(size))
    room.publish('nobody', '1')
    t.equal(made().length, 0)
    room.publish('a', '1')
    room.clock.tick()
    t.equal(made().length, 1)
    t.end()
  })
  t.end()
})

t.test('the count of recipients', (t) => {
  t.test('is the number of subscribers at that moment', (t) => {
    const room = new Room()
    const [one, two] = [room.enter(), room.enter()]
    t.equal(room.publish('a', '1'), 0)
    room.join(one, 'a')
    t.equal(room.publish('a', '2'), 1)
    room.join(two, 'a', 'b')
    t.equal(room.publish('a', '3'), 2)
    t.equal(room.publish('b', '4'), 1)
    room.leave(one, 'a')
    t.equal(room.publish('a', '5'), 1)
    room.hub.drop(two.subscriber)
    t.equal(room.publish('a', '6'), 0)
    t.equal(room.publish('b', '7'), 0)
    t.end()
  })

  t.test('is available without a publication too', (t) => {
    const room = new Room()
    const guest = room.enter()
    t.equal(room.hub.count(streamOf('a')), 0)
    room.join(guest, 'a')
    t.equal(room.hub.count(streamOf('a')), 1)
    room.leave(guest, 'a')
    t.equal(room.hub.count(streamOf('a')), 0)
    t.end()
  })
  t.end()
})
