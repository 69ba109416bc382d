import t from 'tap'
import { Room, streamOf, type Guest } from '../../support/room.js'

const KIB = 1024

/** A room that closes its slow consumers as the server does: it stops the delivery, then closes. */
function strictRoom (maxOutboxBytes = 100 * KIB): { room: Room, enter: (alsoEnds?: () => Guest) => Guest } {
  const room = new Room({ maxOutboxBytes })
  return {
    room,
    enter: (alsoEnds) => room.enter((guest) => {
      for (const ending of alsoEnds === undefined ? [guest] : [guest, alsoEnds()]) {
        room.hub.finish(ending.subscriber, () => { ending.transport.close(4000, 'slow') })
      }
    })
  }
}

/** Stops reading, with so much queued that 40 KiB more exceed its limit. */
function stall (room: Room, guest: Guest): void {
  guest.transport.stall()
  room.tell(guest, 'x'.repeat(62 * KIB))
}

const large = '.'.repeat(40 * KIB)

t.test('finish', (t) => {
  t.test('sends what was delivered so far at once, and nothing more', (t) => {
    const room = new Room()
    const [leaving, staying] = [room.enter(), room.enter()]
    for (const guest of [leaving, staying]) room.join(guest, 'a', 'b')
    room.clock.tick()
    room.publish('a', '1')
    room.tell(leaving, 'goodbye')
    room.publish('b', '2')
    let finished = 0
    room.hub.finish(leaving.subscriber, () => { finished++ })
    t.equal(finished, 1)
    t.strictSame(leaving.transport.texts.slice(1), ['1', 'goodbye', '2'])
    t.equal(leaving.transport.writes.length, 2)
    t.equal(room.publish('a', '3'), 1)
    room.tell(leaving, 'unseen')
    room.clock.tick()
    room.publish('a', '4')
    room.clock.tick()
    t.strictSame(leaving.transport.texts.slice(1), ['1', 'goodbye', '2'])
    t.strictSame(staying.transport.texts.slice(1), ['1', '2', '3', '4'])
    t.end()
  })

  t.test('works with nothing to send', (t) => {
    const room = new Room()
    const guest = room.enter()
    room.hub.finish(guest.subscriber, () => { guest.transport.close(1000, 'done') })
    room.clock.tick()
    t.strictSame(guest.transport.writes, [])
    t.equal(guest.transport.closedWith?.code, 1000)
    t.end()
  })

  t.test('waits for a client that is behind', (t) => {
    const { room, enter } = strictRoom(1024 * KIB)
    const guest = enter()
    room.join(guest, 'a')
    stall(room, guest)
    room.publish('a', '1')
    room.hub.finish(guest.subscriber, () => { guest.transport.close(1012, 'restart') })
    room.clock.tick()
    t.equal(guest.transport.closedWith, undefined)
    guest.transport.drain()
    t.equal(guest.transport.closedWith?.code, 1012)
    t.equal(guest.transport.texts.at(-1), '1')
    t.equal(room.pool.queuedBytes, 0)
    t.end()
  })

  t.test('ends at once if the last messages exceed the client\'s limit', (t) => {
    const { room, enter } = strictRoom()
    const guest = enter()
    room.join(guest, 'a')
    stall(room, guest)
    room.publish('a', large)
    room.publish('a', large)
    room.hub.finish(guest.subscriber, () => { guest.transport.close(1012, 'restart') })
    t.ok(guest.transport.closedWith)
    t.equal(guest.overflows, 1)
    t.equal(room.pool.queuedBytes, 0)
    t.equal(room.hub.count(streamOf('a')), 0)
    room.clock.tick()
    t.equal(guest.transport.texts.length, 0)
    t.end()
  })
  t.end()
})

t.test('drop', (t) => {
  t.test('discards the messages of the tick for this connection only', (t) => {
    const room = new Room()
    const [gone, settled, staying] = [room.enter(), room.enter(), room.enter()]
    for (const guest of [gone, settled, staying]) room.join(guest, 'a')
    room.clock.tick()
    room.publish('a', '1')
    room.tell(settled, 'unseen')
    room.hub.drop(gone.subscriber)
    room.hub.drop(settled.subscriber)
    room.publish('a', '2')
    room.clock.tick()
    for (const { transport } of [gone, settled]) t.strictSame(transport.texts, ['hello a:0'])
    t.strictSame(staying.transport.texts, ['hello a:0', '1', '2'])
    t.end()
  })

  t.test('frees the queue, and a late drain event does nothing', (t) => {
    const room = new Room()
    const guest = room.enter()
    room.join(guest, 'a')
    stall(room, guest)
    room.publish('a', large)
    room.clock.tick()
    t.ok(room.pool.queuedBytes > 40 * KIB)
    room.hub.drop(guest.subscriber)
    t.equal(room.pool.queuedBytes, 0)
    const { length } = guest.transport.writes
    guest.transport.drain()
    t.equal(guest.transport.writes.length, length)
    t.end()
  })

  t.test('prevents any further send, join and finish', (t) => {
    const room = new Room()
    const guest = room.enter()
    room.join(guest, 'a')
    room.clock.tick()
    room.hub.drop(guest.subscriber)
    room.hub.drop(guest.subscriber)
    room.tell(guest, 'unseen')
    room.join(guest, 'a')
    t.equal(room.publish('a', 'unseen'), 0)
    room.leave(guest, 'a')
    room.clock.tick()
    t.strictSame(guest.transport.texts, ['hello a:0'])
    t.equal(room.hub.count(streamOf('a')), 0)
    t.end()
  })
  t.end()
})

t.test('during a flush', (t) => {
  t.test('a new subscriber gets its reply in the next tick, and no earlier publication', (t) => {
    const room = new Room({ maxOutboxBytes: 100 * KIB })
    const late = room.enter()
    const slow = room.enter(() => {
      room.join(late, 'a')
      room.tell(late, 'welcome')
    })
    room.join(slow, 'a')
    stall(room, slow)
    room.clock.tick()
    room.publish('a', large)
    room.publish('a', large)
    room.clock.tick()
    t.equal(slow.overflows, 1)
    t.strictSame(late.transport.texts, [])
    room.clock.tick()
    t.strictSame(late.transport.texts, ['hello a:0', 'welcome'])
    t.equal(late.transport.writes.length, 1)
    room.publish('a', 'new')
    room.clock.tick()
    t.strictSame(late.transport.texts, ['hello a:0', 'welcome', 'new'])
    t.end()
  })

  t.test('a publication is not sent twice to a connection that got it in the same flush', (t) => {
    const room = new Room({ maxOutboxBytes: 100 * KIB })
    const slow = room.enter(() => { room.publish('a', 'inside') })
    const [one, two] = [room.enter(), room.enter()]
    for (const guest of [slow, one, two]) room.join(guest, 'a')
    room.join(two, 'b')
    stall(room, slow)
    room.clock.tick()
    for (const text of [large, large]) room.publish('a', text)
    room.publish('b', 'b')
    room.clock.tick()
    t.equal(slow.overflows, 1)
    t.equal(two.transport.texts.at(-1), 'inside', 'it was not written to yet')
    room.publish('a', 'after')
    room.clock.tick()
    t.strictSame(one.transport.texts.slice(1), [large, large, 'inside', 'after'])
    t.strictSame(two.transport.texts.slice(2), [large, large, 'b', 'inside', 'after'])
    t.end()
  })

  // The slow consumer overflows while the others are being written to, before it and after it.
  for (const [kind, prepare] of [
    ['of the whole batch', () => undefined],
    ['of a batch with an answer in it', (room: Room, guests: readonly Guest[]) => { for (const guest of guests) room.tell(guest, 'answer') }],
    ['of two sessions', (room: Room) => { room.publish('b', 'b') }]
  ] as const) {
    t.test(`a slow consumer (${kind}) is closed, and the others get everything`, (t) => {
      const { room, enter } = strictRoom()
      const guests = [enter(), enter(), enter()] as const
      for (const guest of guests) room.join(guest, 'a', 'b')
      room.clock.tick()
      stall(room, guests[1])
      room.clock.tick()
      prepare(room, guests)
      room.publish('a', large)
      room.publish('a', large)
      room.publish('a', 'last')
      room.clock.tick()
      t.strictSame(guests.map(({ overflows }) => overflows), [0, 1, 0])
      t.equal(guests[1].transport.closedWith?.code, 4000)
      t.equal(guests[1].transport.texts.length, 1)
      for (const { transport } of [guests[0], guests[2]]) {
        t.strictSame(transport.texts.slice(1).filter((text) => text.length === large.length).length, 2)
        t.equal(transport.texts.at(-1), 'last')
      }
      t.equal(room.publish('a', 'after'), 2)
      t.equal(room.pool.queuedBytes, 0)
      room.clock.tick()
      t.equal(guests[0].transport.texts.at(-1), 'after')
      t.equal(guests[1].transport.texts.length, 1)
      t.end()
    })

    for (const at of ['before', 'behind'] as const) {
      t.test(`another can be closed with it (${kind}), with its turn ${at}, and gets everything once`, (t) => {
        const { room, enter } = strictRoom()
        const order: Guest[] = []
        const slow = (): Guest => enter(() => order.find((guest) => guest !== slowOne)!)
        let slowOne: Guest
        if (at === 'behind') order.push(slowOne = slow(), enter())
        else order.push(enter(), slowOne = slow())
        const other = order.find((guest) => guest !== slowOne)!
        for (const guest of order) room.join(guest, 'a', 'b')
        room.clock.tick()
        stall(room, slowOne)
        room.clock.tick()
        prepare(room, order)
        room.publish('a', large)
        room.publish('a', large)
        room.publish('a', 'last')
        room.clock.tick()
        t.equal(other.transport.closedWith?.code, 4000)
        const { texts } = other.transport
        t.equal(texts.filter((text) => text === large).length, 2)
        t.equal(texts.filter((text) => text === 'last').length, 1)
        t.equal(texts.at(-1), 'last')
        t.equal(room.publish('a', 'after'), 0)
        room.clock.tick()
        t.strictSame(other.transport.texts, texts)
        t.end()
      })
    }
  }

  t.test('a connection whose socket dies is dropped, and gets nothing more', (t) => {
    const room = new Room({ maxOutboxBytes: 100 * KIB })
    const dying = room.enter(({ subscriber, transport }) => {
      transport.terminate()
      room.hub.drop(subscriber)
    })
    const living = room.enter()
    for (const guest of [dying, living]) room.join(guest, 'a')
    room.clock.tick()
    stall(room, dying)
    room.clock.tick()
    room.publish('a', large)
    room.publish('a', large)
    room.clock.tick()
    t.ok(dying.transport.terminated)
    t.equal(dying.transport.texts.length, 1)
    t.equal(living.transport.texts.length, 3)
    t.equal(room.publish('a', 'after'), 1)
    t.end()
  })

  t.test('the limit of all outboxes closes the connection with the most queued bytes', (t) => {
    const room = new Room({ maxTotalBytes: 300 * KIB })
    const guests = [1, 2, 3].map(() => room.enter(({ subscriber, transport }) => {
      room.hub.finish(subscriber, () => { transport.close(4000, 'slow') })
    }))
    for (const guest of guests) {
      room.join(guest, 'a')
      stall(room, guest)
    }
    room.clock.tick()
    room.publish('a', large)
    room.clock.tick()
    t.strictSame(guests.map(({ overflows }) => overflows), [1, 0, 0])
    t.ok(room.pool.queuedBytes <= 300 * KIB)
    t.match(room.pool, { slowConsumers: 1 })
    for (const { transport } of guests.slice(1)) {
      while (transport.bufferedBytes > 0) transport.drain()
      t.equal(transport.texts.at(-1), large)
    }
    t.equal(room.pool.queuedBytes, 0)
    t.end()
  })
  t.end()
})
