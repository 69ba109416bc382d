import assert from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import { Room, type Guest } from '../../support/room.js'

// The close handler of a slow consumer can do anything during a flush. The other connections must not notice.

const KIB = 1024
const GUESTS = 5
const large = '.'.repeat(40 * KIB)

interface Act {
  readonly does: 'publish' | 'publish much' | 'tell' | 'join' | 'join both' | 'leave' | 'finish' | 'drop'
  readonly name: string
  readonly whom: number
}

/** The messages that a guest must get, in the order of the calls. */
class Expected {
  readonly texts: string[] = []
  readonly subscriptions = new Set<string>()
  end: 'finished' | 'dropped' | undefined
}

class Stage {
  readonly room = new Room({ maxOutboxBytes: 60 * KIB })
  readonly guests: readonly Guest[]
  readonly expected = Array.from({ length: GUESTS }, () => new Expected())
  /** Pending flushes, and acts that happened during one. */
  due = 0
  inside = 0
  #isFlushing = false
  #said = 0

  /** `onOverflow`: what the close handler of each guest does. */
  constructor (onOverflow: ReadonlyArray<readonly Act[]>) {
    const { clock } = this.room
    const endOfTick = clock.endOfTick.bind(clock)
    clock.endOfTick = (callback) => {
      this.due++
      endOfTick(() => {
        this.due--
        callback()
      })
    }
    this.guests = this.expected.map((_, at) => this.room.enter(() => {
      this.perform({ does: 'finish', name: '', whom: at })
      if (this.#isFlushing) this.inside += onOverflow[at]!.length
      for (const act of onOverflow[at]!) this.perform(act)
    }))
  }

  perform ({ does, name, whom }: Act): void {
    const { room, guests, expected } = this
    const [guest, meant] = [guests[whom]!, expected[whom]!]
    const text = `${does} ${this.#said++}`
    switch (does) {
      case 'publish':
      case 'publish much': {
        const body = does === 'publish' ? text : text + large
        for (const { subscriptions, texts } of expected) if (subscriptions.has(name)) texts.push(body)
        room.publish(name, body)
        break
      }
      case 'tell':
        if (meant.end === undefined) meant.texts.push(text)
        room.tell(guest, text)
        break
      case 'join':
      case 'join both': {
        const names = does === 'join' ? [name] : ['a', 'b']
        if (meant.end === undefined) {
          meant.texts.push(`hello ${names.map((each) => `${each}:0`).join(' ')}`)
          for (const each of names) meant.subscriptions.add(each)
        }
        room.join(guest, ...names)
        break
      }
      case 'leave':
        meant.subscriptions.delete(name)
        room.leave(guest, name)
        break
      case 'finish':
        if (meant.end !== undefined) break
        this.#end(meant, 'finished')
        room.hub.finish(guest.subscriber, () => undefined)
        break
      case 'drop':
        this.#end(meant, 'dropped')
        room.hub.drop(guest.subscriber)
    }
  }

  tick (): void {
    this.#isFlushing = true
    this.room.clock.tick()
    this.#isFlushing = false
  }

  #end (meant: Expected, end: NonNullable<Expected['end']>): void {
    meant.end = end
    meant.subscriptions.clear()
  }
}

t.test('each connection gets its messages once and in order, whatever a slow consumer\'s close handler does', async (t) => {
  const act: fc.Arbitrary<Act> = fc.record({
    does: fc.constantFrom('publish', 'publish', 'publish much', 'publish much', 'tell', 'join', 'join both', 'leave', 'finish', 'drop'),
    name: fc.constantFrom('a', 'b', 'c'),
    whom: fc.nat(GUESTS - 1)
  })
  const acts = (maxLength: number): fc.Arbitrary<Act[]> => fc.array(act, { maxLength, size: 'max' })
  const perGuest = <T>(each: fc.Arbitrary<T>): fc.Arbitrary<T[]> => fc.array(each, { minLength: GUESTS, maxLength: GUESTS })
  let inside = 0
  fc.assert(fc.property(perGuest(fc.subarray(['a', 'b'])), perGuest(fc.boolean()), perGuest(acts(6)), fc.array(acts(12), { maxLength: 4 }), (subscriptions, isSlow, onOverflow, ticks) => {
    const stage = new Stage(onOverflow)
    const { room, guests, expected } = stage
    for (const [whom, names] of subscriptions.entries()) for (const name of names) stage.perform({ does: 'join', name, whom })
    for (const [at, { transport }] of guests.entries()) if (isSlow[at] === true) transport.stall()
    for (const acts of ticks) {
      for (const act of acts) stage.perform(act)
      stage.tick()
    }
    for (const { transport } of guests) {
      transport.stalled = false
      transport.drain()
    }
    for (let more = 0; stage.due > 0; more++) {
      assert(more < 10, 'it terminates')
      stage.tick()
      for (const { transport } of guests) transport.drain()
    }
    for (const [at, { subscriber, transport, overflows }] of guests.entries()) {
      const { texts, end, subscriptions } = expected[at]!
      // A closed or dropped guest got the first part of it.
      assert.deepEqual(transport.texts, overflows > 0 || end === 'dropped' ? texts.slice(0, transport.texts.length) : texts)
      assert.deepEqual([subscriber.queue, subscriber.firstBatch], [undefined, undefined])
      assert.equal(subscriber.channels.length, subscriptions.size)
      for (const { current, next } of subscriber.channels) assert.deepEqual([current, next], [undefined, undefined])
    }
    assert.equal(room.pool.queuedBytes, 0)
    inside += stage.inside
  }))
  t.ok(inside > 0, 'some acts happened during a flush')
})
