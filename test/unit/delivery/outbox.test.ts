import fc from 'fast-check'
import t from 'tap'
import { Frame, FRAGMENT_BYTES, type FrameSource } from '../../../lib/delivery/frame.js'
import { OutboxPool } from '../../../lib/delivery/outbox-pool.js'
import { Outbox, WRITE_AHEAD_BYTES } from '../../../lib/delivery/outbox.js'
import { FakeClock } from '../../support/fake-clock.js'
import { FakeTransport } from '../../support/fake-transport.js'

const KIB = 1024

/** A message of exactly so many bytes, its frames' headers included, that begins with its name. */
function message (name: string, bytes: number, collapseKey?: string): Frame {
  const headers = bytes < 2 + 126 ? 2 : 4 * Math.ceil(bytes / FRAGMENT_BYTES)
  return new Frame(name.padEnd(bytes - headers, '.'), { collapseKey })
}

/** Frames that are made when they are asked for. */
function sourceOf (...names: string[]): FrameSource & { readonly left: string[] } {
  return {
    left: names,
    next () {
      const name = names.shift()
      return name === undefined ? undefined : message(name, 10 * KIB)
    }
  }
}

function names (transport: FakeTransport): string[] {
  return transport.texts.map((text) => text.replace(/\.*$/, ''))
}

interface Bounds { maxOutboxBytes?: number, maxTotalBytes?: number }

function makePool ({ maxOutboxBytes = 1024 * KIB, maxTotalBytes = 4096 * KIB }: Bounds = {}): { pool: OutboxPool, clock: FakeClock } {
  const clock = new FakeClock()
  return { clock, pool: new OutboxPool({ maxOutboxBytes, maxTotalBytes, clock }) }
}

function makeOutbox (pool: OutboxPool): { outbox: Outbox, transport: FakeTransport, overflows: () => number } {
  const transport = new FakeTransport()
  let overflows = 0
  const outbox = new Outbox(transport, pool, () => {
    t.ok(outbox.closed, 'by then the outbox is closed')
    t.notOk(outbox.isBehind, 'and its memory is free')
    overflows++
  })
  return { outbox, transport, overflows: () => overflows }
}

/** An outbox whose reader has stopped reading, with its socket just full: whatever comes next waits. */
function makeStalled (bounds?: Bounds): ReturnType<typeof makeOutbox> & ReturnType<typeof makePool> {
  const shared = makePool(bounds)
  const made = makeOutbox(shared.pool)
  made.transport.stalled = true
  made.outbox.write([message('first', WRITE_AHEAD_BYTES)])
  made.transport.pings.length = 0
  return { ...made, ...shared }
}

t.test('while the reader keeps up', (t) => {
  t.test('frames leave at once, together', (t) => {
    const { pool } = makePool()
    const { outbox, transport } = makeOutbox(pool)
    outbox.write([message('a', 100), message('b', 100)])
    t.strictSame(names(transport), ['a', 'b'])
    t.equal(transport.writes.length, 1)
    t.match(pool, { sent: 2, queuedBytes: 0 })
    t.match(outbox, { behind: false, bufferedBytes: 0, stalledMs: 0 })
    outbox.write([])
    t.equal(transport.writes.length, 1)
    t.end()
  })

  t.test('frames that were joined by the caller leave as those very bytes', (t) => {
    const { pool } = makePool()
    const { outbox, transport } = makeOutbox(pool)
    const frame = message('a', 100)
    t.ok(outbox.writeJoined(frame.bytes(false), [frame]))
    t.equal(transport.writes[0], frame.bytes(false))
    t.equal(pool.sent, 1)
    t.end()
  })

  t.test('a peer that inflates gets the deflated kind', (t) => {
    const { pool } = makePool()
    const { outbox, transport } = makeOutbox(pool)
    transport.inflates = true
    const deflate = { thresholdBytes: 1024, ceilingBytes: 256 * KIB, windowBits: 10, level: 3, memLevel: 7, chunkSize: 1024 }
    const frame = new Frame('x'.repeat(5000), { deflate })
    outbox.write([frame])
    t.equal(transport.writes[0], frame.bytes(true))
    t.end()
  })

  t.test('much at once is handed over a piece at a time, so that a ping never waits long', (t) => {
    const { pool } = makePool()
    const { outbox, transport } = makeOutbox(pool)
    const frames = Array.from({ length: 10 }, (_, i) => message(String(i), 20 * KIB))
    t.notOk(outbox.writeJoined(Buffer.concat(frames.map((frame) => frame.bytes(false))), frames))
    outbox.write(frames)
    t.strictSame(transport.writes.map(({ length }) => length / KIB), [60, 60, 60, 20])
    t.strictSame(names(transport), '0123456789'.split(''))
    t.end()
  })

  t.test('a long message goes a fragment at a time', (t) => {
    const { pool } = makePool()
    const { outbox, transport } = makeOutbox(pool)
    outbox.write([message('small', 1 * KIB), message('large', 300 * KIB), message('after', 1 * KIB)])
    t.strictSame(transport.writes.map(({ length }) => length / KIB), [1, 64, 64, 64, 64, 45])
    t.strictSame(names(transport), ['small', 'large', 'after'])
    t.match(pool, { sent: 3, queuedBytes: 0 })
    t.equal(outbox.isBehind, false)
    t.end()
  })

  t.test('frames that are made when there is room leave with those around them, in one write', (t) => {
    const { pool } = makePool()
    const { outbox, transport } = makeOutbox(pool)
    outbox.write([sourceOf()])
    t.equal(transport.writes.length, 0)
    outbox.write([message('a', 100), sourceOf('b', 'c'), sourceOf(), message('d', 100)])
    t.strictSame(names(transport), ['a', 'b', 'c', 'd'])
    t.equal(transport.writes.length, 1)
    t.match(pool, { sent: 4, queuedBytes: 0 })
    t.end()
  })
  t.end()
})

t.test('while the reader is behind', (t) => {
  t.test('the socket is given about one piece, and the rest waits', (t) => {
    const { pool } = makePool()
    const { outbox, transport } = makeOutbox(pool)
    transport.stalled = true
    outbox.write(Array.from({ length: 20 }, (_, i) => message(String(i), 20 * KIB)))
    t.equal(transport.bufferedBytes, 120 * KIB)
    t.equal(pool.queuedBytes, 280 * KIB)
    t.match(outbox, { behind: true, queuedBytes: 280 * KIB, bufferedBytes: 400 * KIB })
    t.equal(pool.sent, 6)
    t.end()
  })

  t.test('nothing overtakes what waits, even when the socket would take it', (t) => {
    const { outbox, transport } = makeStalled()
    const [b, c] = [message('b', 100), message('c', 100)]
    outbox.write([b])
    transport.writeAheadBytes = Infinity
    t.notOk(transport.full)
    t.notOk(outbox.writeJoined(c.bytes(false), [c]))
    outbox.write([c])
    t.strictSame(names(transport), ['first'])
    transport.drain()
    t.strictSame(names(transport), ['first', 'b', 'c'])
    t.end()
  })

  t.test('joined frames wait too when the socket is full', (t) => {
    const { outbox, transport } = makeStalled()
    const frame = message('b', 100)
    t.notOk(outbox.writeJoined(frame.bytes(false), [frame]))
    t.strictSame(names(transport), ['first'])
    t.notOk(outbox.isBehind, 'it is for the caller to write them')
    t.end()
  })

  t.test('each time it has read, it gets the next piece, until it has caught up', (t) => {
    const { outbox, transport, pool } = makeStalled()
    outbox.write(Array.from({ length: 10 }, (_, i) => message(String(i), 20 * KIB)))
    const waiting: number[] = []
    while (outbox.isBehind) {
      transport.drain()
      waiting.push(pool.queuedBytes / KIB)
      t.equal(outbox.bufferedBytes, transport.bufferedBytes + pool.queuedBytes)
    }
    t.strictSame(waiting, [80, 0])
    t.strictSame(names(transport), ['first', ...'0123456789'.split('')])
    transport.stalled = false
    transport.drain()
    outbox.write([message('after', 100)])
    t.equal(names(transport).at(-1), 'after')
    t.equal(pool.sent, 12)
    t.end()
  })

  t.test('a long message waits fragment by fragment, and pings go out between them', (t) => {
    const { outbox, transport, pool } = makeStalled()
    outbox.write([message('a', 60 * KIB), message('large', 160 * KIB), message('b', 10 * KIB)])
    const waiting: number[] = []
    while (outbox.isBehind) {
      waiting.push(outbox.queuedBytes / KIB)
      transport.drain()
    }
    t.strictSame(waiting, [230, 106, 42])
    t.strictSame(transport.writes.map(({ length }) => length / KIB), [64, 60, 64, 64, 42])
    t.equal(transport.pings.length, 4, 'one behind each write')
    t.strictSame(names(transport), ['first', 'a', 'large', 'b'])
    t.equal(pool.queuedBytes, 0)
    t.end()
  })

  t.test('frames that are made when there is room cost nothing until then', (t) => {
    const { outbox, transport, pool } = makeStalled()
    const source = sourceOf(...'abcdefghijklmno'.split(''))
    outbox.write([source, message('after', 100)])
    t.ok(pool.queuedBytes < KIB)
    t.equal(source.left.length, 15)
    transport.drain()
    t.equal(15 - source.left.length, 13, 'as many as one write takes, and one more that a second write began with')
    while (outbox.isBehind) transport.drain()
    t.strictSame(names(transport), ['first', ...'abcdefghijklmno'.split(''), 'after'])
    t.equal(pool.queuedBytes, 0)
    t.end()
  })

  t.test('a peer that knows what it means is told how long a long message is', (t) => {
    const { outbox, transport, clock } = makeStalled()
    transport.announcesLargeMessages = true
    outbox.write([message('a', 64 * KIB), message('large', 300 * KIB)])
    while (outbox.isBehind) transport.drain()
    t.strictSame(transport.texts.map((text) => text.startsWith('{') ? JSON.parse(text) as unknown : text.replace(/\.*$/, '')), [
      'first', 'a', { type: 'large_message', bytes: 300 * KIB, timestamp: new Date(clock.now()).toISOString() }, 'large'
    ])
    t.end()
  })

  t.test('it says for how long nothing was taken', (t) => {
    const { outbox, transport, clock } = makeStalled()
    clock.advance(1000)
    t.equal(outbox.stalledMs, 0, 'nothing waits here yet')
    outbox.write(Array.from({ length: 10 }, (_, i) => message(String(i), 20 * KIB)))
    clock.advance(1000)
    outbox.write([message('more', 100)])
    clock.advance(500)
    t.equal(outbox.stalledMs, 1500)
    transport.drain()
    t.equal(outbox.stalledMs, 0)
    clock.advance(200)
    t.equal(outbox.stalledMs, 200)
    while (outbox.isBehind) transport.drain()
    clock.advance(200)
    t.equal(outbox.stalledMs, 0)
    t.end()
  })
  t.end()
})

t.test('collapsing', (t) => {
  t.test('keeps the newest of a key, in its own place', (t) => {
    const { outbox, transport, pool } = makeStalled()
    outbox.write([
      message('progress 1', 100, 'job 1'), message('other 1', 100, 'job 2'), message('progress 2', 200, 'job 1'),
      message('between', 100), message('progress 3', 300, 'job 1')
    ])
    t.equal(pool.collapsed, 2)
    t.equal(pool.queuedBytes, 100 + 100 + 300)
    t.equal(outbox.bufferedBytes, WRITE_AHEAD_BYTES + 500)
    transport.drain()
    t.strictSame(names(transport), ['first', 'other 1', 'between', 'progress 3'])
    t.end()
  })

  t.test('never touches messages without a key', (t) => {
    const { outbox, transport, pool } = makeStalled()
    // The second one's key looks like the number under which the first one waits.
    outbox.write([message('start', 100), message('progress', 100, '0'), message('progress', 100, '0'), message('end', 100)])
    t.equal(pool.collapsed, 1)
    transport.drain()
    t.strictSame(names(transport), ['first', 'start', 'progress', 'end'])
    t.end()
  })

  t.test('does not happen to what was handed over already, or while the reader keeps up', (t) => {
    const { pool } = makePool()
    const { outbox, transport } = makeOutbox(pool)
    outbox.write([message('1', 100, 'job'), message('2', 100, 'job')])
    transport.stalled = true
    outbox.write([message('3', WRITE_AHEAD_BYTES, 'job'), message('4', 100, 'job'), message('5', 100, 'job')])
    transport.drain()
    t.strictSame(names(transport), ['1', '2', '3', '5'])
    t.equal(pool.collapsed, 1)
    t.end()
  })

  t.test('makes room: a reader that lacks nothing but progress is never too slow', (t) => {
    const { outbox, overflows, pool } = makeStalled({ maxOutboxBytes: 100 * KIB })
    for (let i = 0; i < 1000; i++) outbox.write([message(String(i), 20 * KIB, 'job')])
    t.equal(overflows(), 0)
    t.equal(pool.queuedBytes, 20 * KIB)
    t.end()
  })
  t.end()
})

t.test('a reader that is too slow', (t) => {
  t.test('is reported once when more would wait than may, and what waited is let go', (t) => {
    const { outbox, transport, overflows, pool } = makeStalled({ maxOutboxBytes: 36 * KIB })
    outbox.write([message('a', 20 * KIB), message('b', 16 * KIB)])
    t.equal(outbox.queuedBytes, 36 * KIB)
    t.equal(overflows(), 0)
    outbox.write([message('c', 5), message('d', 5)])
    t.equal(overflows(), 1)
    t.match(outbox, { closed: true, behind: false, stalledMs: 0, bufferedBytes: WRITE_AHEAD_BYTES })
    t.match(pool, { queuedBytes: 0, slowConsumers: 1, sent: 1 })
    outbox.write([message('e', 100)])
    t.ok(outbox.writeJoined(Buffer.alloc(1), []), 'there is nothing left to do')
    transport.drain()
    t.strictSame(names(transport), ['first'])
    t.equal(overflows(), 1)
    t.end()
  })

  t.test('costs the messages that waited and the one too many', (t) => {
    const { outbox, pool } = makeStalled({ maxOutboxBytes: 50 * KIB })
    outbox.write([message('a', 20 * KIB), message('b', 20 * KIB), message('c', 20 * KIB)])
    t.equal(pool.dropped, 3)
    t.end()
  })

  t.test('may have one message above the bound wait, which is not counted against it', (t) => {
    const { outbox, transport, overflows, pool } = makeStalled({ maxOutboxBytes: 100 * KIB })
    outbox.write([message('large', 500 * KIB), message('a', 60 * KIB), message('b', 40 * KIB)])
    t.equal(overflows(), 0)
    t.equal(outbox.queuedBytes, 600 * KIB)
    t.equal(pool.queuedBytes, 600 * KIB)
    transport.drain()
    outbox.write([message('also large', 500 * KIB)])
    t.equal(overflows(), 0, 'the first one is on its way')
    t.equal(pool.queuedBytes, 1100 * KIB, 'it counts among all that waits until it has gone')
    outbox.write([message('a third', 500 * KIB)])
    t.equal(overflows(), 1)
    t.equal(pool.queuedBytes, 0)
    t.match(pool, { dropped: 5 })
    t.end()
  })

  t.test('a long message that many wait for counts once among all that waits', (t) => {
    const { pool } = makePool({ maxOutboxBytes: 100 * KIB, maxTotalBytes: 600 * KIB })
    const large = message('large', 500 * KIB)
    const slow = Array.from({ length: 5 }, () => makeOutbox(pool))
    for (const { outbox, transport } of slow) {
      transport.stall()
      outbox.write([large])
    }
    t.equal(pool.queuedBytes, 500 * KIB)
    t.equal(pool.slowConsumers, 0)
    slow[0]!.outbox.close()
    for (const { outbox, transport } of slow.slice(1)) while (outbox.isBehind) transport.drain()
    t.equal(pool.queuedBytes, 0)
    t.end()
  })

  t.test('a progress above the bound that replaced others brings their text', (t) => {
    const { outbox, transport, pool } = makeStalled({ maxOutboxBytes: 100 * KIB })
    const text = (from: number, bytes: number): Frame => new Frame('.'.repeat(bytes), {
      collapseKey: 'job', piece: { from, startingAt: (earlier) => sourceOf(`from ${earlier}`, 'and more') }
    })
    outbox.write([text(3, 10), text(5, 200 * KIB)])
    t.ok(pool.queuedBytes > 200 * KIB)
    while (outbox.isBehind) transport.drain()
    t.strictSame(names(transport), ['first', 'from 3', 'and more'])
    t.equal(pool.queuedBytes, 0)
    t.end()
  })

  t.test('a newer progress above the bound takes an older one\'s place', (t) => {
    const { outbox, transport, overflows, pool } = makeStalled({ maxOutboxBytes: 100 * KIB })
    for (const name of ['old', 'new']) outbox.write([message(name, 200 * KIB, 'job')])
    t.equal(pool.queuedBytes, 200 * KIB)
    while (outbox.isBehind) transport.drain()
    t.strictSame(names(transport), ['first', 'new'])
    t.equal(overflows(), 0)
    t.equal(pool.queuedBytes, 0)
    t.end()
  })

  t.test('is not one that answers the pings behind what it was sent', (t) => {
    const { outbox, transport, clock } = makeStalled()
    outbox.write(Array.from({ length: 20 }, (_, i) => message(String(i), 20 * KIB)))
    transport.drain()
    transport.drain()
    clock.advance(5000)
    t.equal(outbox.stalledMs, 5000)
    t.ok(transport.pings.length > 0)
    const [oldest, ...others] = transport.pings as [Buffer, ...Buffer[]]
    t.ok(outbox.handlePong(Buffer.from('guessed')), 'it may answer the ping of somebody else')
    t.equal(outbox.stalledMs, 5000, 'but shows nothing')
    t.ok(outbox.handlePong(oldest))
    t.equal(outbox.stalledMs, 0)
    clock.advance(1000)
    t.equal(outbox.handlePong(oldest), others.length > 1)
    t.equal(outbox.stalledMs, 1000, 'the same answer again shows nothing')
    while (outbox.handlePong(oldest));
    t.notOk(outbox.handlePong(others.at(-1)!), 'a pong that no ping asked for says nothing')
    t.end()
  })

  t.test('never makes more wait than the bound and one message', (t) => {
    const sizes = fc.array(fc.tuple(fc.integer({ min: 5, max: 300 * KIB }), fc.constantFrom(undefined, 'job'), fc.boolean()), { maxLength: 50, size: 'max' })
    fc.assert(fc.property(sizes, (sizes) => {
      const { pool } = makePool({ maxOutboxBytes: 100 * KIB })
      const { outbox, transport, overflows } = makeOutbox(pool)
      transport.stalled = true
      let largest = 0
      for (const [size, key, drains] of sizes) {
        if (drains) transport.drain()
        largest = Math.max(largest, size)
        outbox.write([message('x', size, key)])
        // One above the bound may wait, and one be on its way.
        if (outbox.queuedBytes > 100 * KIB + 2 * largest) return false
      }
      outbox.close()
      return pool.queuedBytes === 0 && overflows() <= 1
    }))
    t.end()
  })
  t.end()
})

t.test('the ceiling over all readers', (t) => {
  const setUp = (): ReturnType<typeof makePool> & { slow: Array<ReturnType<typeof makeOutbox>> } => {
    const shared = makePool({ maxTotalBytes: 200 * KIB })
    const slow = Array.from({ length: 3 }, () => {
      const made = makeOutbox(shared.pool)
      made.transport.stalled = true
      made.outbox.write([message('first', WRITE_AHEAD_BYTES)])
      return made
    })
    return { ...shared, slow }
  }

  t.test('costs the one that holds most, and not the one that would pass it', (t) => {
    const { pool, slow } = setUp()
    for (const [at, kib] of [60, 70, 50].entries()) slow[at]!.outbox.write([message('a', kib * KIB)])
    t.equal(pool.queuedBytes, 180 * KIB)
    slow[2]!.outbox.write([message('b', 30 * KIB)])
    t.strictSame(slow.map(({ overflows }) => overflows()), [0, 1, 0])
    t.equal(pool.queuedBytes, 140 * KIB)
    t.match(pool, { slowConsumers: 1, dropped: 1 })
    t.end()
  })

  t.test('costs one that has read nothing for long before one that only paused', (t) => {
    const { pool, slow, clock } = setUp()
    slow[0]!.outbox.write([message('a', 30 * KIB)])
    clock.advance(30_000)
    slow[1]!.outbox.write([message('a', 150 * KIB)])
    clock.advance(1_000)
    slow[2]!.outbox.write([message('a', 30 * KIB)])
    t.strictSame(slow.map(({ overflows }) => overflows()), [1, 0, 0])
    t.equal(pool.queuedBytes, 180 * KIB)
    t.end()
  })

  t.test('costs the newcomer when it is the one that holds most', (t) => {
    const { pool, slow } = setUp()
    slow[0]!.outbox.write([message('a', 30 * KIB)])
    slow[1]!.outbox.write([message('a', 60 * KIB), message('b', 60 * KIB), message('c', 60 * KIB)])
    t.strictSame(slow.map(({ overflows }) => overflows()), [0, 1, 0])
    t.equal(pool.queuedBytes, 30 * KIB)
    t.match(pool, { dropped: 3 })
    t.end()
  })

  t.test('costs no reader of a long message that many share, for that would free nothing', (t) => {
    const { pool } = makePool({ maxOutboxBytes: 100 * KIB, maxTotalBytes: 1000 * KIB })
    const large = message('large', 500 * KIB)
    const [readers, hogs] = [Array.from({ length: 10 }, () => makeOutbox(pool)), Array.from({ length: 6 }, () => makeOutbox(pool))]
    for (const { outbox, transport } of readers) {
      transport.stall()
      outbox.write([large])
    }
    for (const { outbox, transport } of hogs) {
      transport.stall()
      outbox.write([message('a', 90 * KIB)])
    }
    t.strictSame(readers.map(({ overflows }) => overflows()), readers.map(() => 0))
    t.equal(hogs.reduce((sum, { overflows }) => sum + overflows(), 0), 1)
    t.ok(pool.queuedBytes <= 1000 * KIB)
    t.end()
  })

  t.test('counts what is being handed over, too', (t) => {
    const { pool } = makePool({ maxOutboxBytes: 100 * KIB, maxTotalBytes: 1000 * KIB })
    const slow = Array.from({ length: 4 }, () => makeOutbox(pool))
    for (const [at, { outbox, transport }] of slow.entries()) {
      transport.stalled = true
      outbox.write([message(`large ${at}`, 400 * KIB)])
      t.ok(pool.queuedBytes <= 1000 * KIB)
    }
    t.equal(pool.slowConsumers, 2, 'two of them have room')
    const small = makeOutbox(pool)
    small.transport.stalled = true
    small.outbox.write([message('first', 64 * KIB), message('b', 90 * KIB)])
    t.equal(small.overflows(), 0)
    for (const { outbox, transport } of [...slow, small]) while (outbox.isBehind) transport.drain()
    t.equal(pool.queuedBytes, 0)
    t.end()
  })

  t.test('costs nobody else when one message alone is above it', (t) => {
    const { pool, slow } = setUp()
    slow[0]!.outbox.write([message('a', 30 * KIB)])
    slow[1]!.outbox.write([message('b', 300 * KIB)])
    t.strictSame(slow.map(({ overflows }) => overflows()), [0, 1, 0])
    t.equal(pool.queuedBytes, 30 * KIB)
    t.end()
  })

  t.test('costs several when one makes too little room', (t) => {
    const { pool, slow } = setUp()
    for (const { outbox } of slow.slice(0, 2)) outbox.write([message('a', 60 * KIB)])
    slow[2]!.outbox.write([message('b', 190 * KIB)])
    t.strictSame(slow.map(({ overflows }) => overflows()), [1, 1, 0])
    t.equal(pool.queuedBytes, 190 * KIB)
    t.end()
  })

  t.test('costs the one that is being handed something, too, when it is the one that holds most', (t) => {
    const { outbox, transport, pool, overflows } = makeStalled({ maxOutboxBytes: 100 * KIB, maxTotalBytes: 90 * KIB + 40 })
    const frames = [message('long', 90 * KIB)]
    outbox.write([{ next: () => frames.pop() }, message('b', 100)])
    t.equal(overflows(), 0)
    transport.drain()
    t.equal(overflows(), 1)
    t.equal(pool.queuedBytes, 0)
    t.equal(outbox.freeableBytes, 0)
    t.end()
  })

  t.test('pings nobody where nobody would answer', (t) => {
    const { outbox, transport } = makeOutbox(makePool().pool)
    Reflect.deleteProperty(transport, 'ping')
    outbox.ping(Buffer.from('x'))
    outbox.write([message('a', 300 * KIB)])
    t.notOk(outbox.handlePong(Buffer.from('x')))
    t.equal(outbox.freeableBytes, 0)
    t.end()
  })

  t.test('ends where there is nobody to give up', (t) => {
    const { pool } = makePool({ maxTotalBytes: KIB })
    pool.makeRoom(2 * KIB)
    t.equal(pool.slowConsumers, 0)
    t.end()
  })

  t.test('leaves room again when a reader catches up', (t) => {
    const { pool, slow } = setUp()
    const [{ outbox, transport }] = slow as [ReturnType<typeof makeOutbox>]
    outbox.write([message('a', 150 * KIB)])
    while (outbox.isBehind) transport.drain()
    t.equal(pool.queuedBytes, 0)
    slow[1]!.outbox.write([message('b', 150 * KIB)])
    t.strictSame(slow.map(({ overflows }) => overflows()), [0, 0, 0])
    t.end()
  })
  t.end()
})

t.test('an end', (t) => {
  t.test('comes at once when nothing waits', (t) => {
    const { outbox, transport } = makeOutbox(makePool().pool)
    outbox.write([message('a', 100)])
    let finished = 0
    outbox.finish(() => { finished++ })
    t.equal(finished, 1)
    t.ok(outbox.closed)
    outbox.write([message('b', 100)])
    t.strictSame(names(transport), ['a'])
    t.end()
  })

  t.test('waits for the backlog, and lets nothing more into it', (t) => {
    const { outbox, transport, pool } = makeStalled()
    outbox.write([message('a', 60 * KIB), message('b', 60 * KIB)])
    let finished = 0
    outbox.finish(() => { finished++ })
    t.ok(outbox.closed)
    outbox.write([message('c', 100)])
    t.equal(finished, 0)
    t.ok(outbox.stalledMs >= 0 && outbox.isBehind)
    while (outbox.isBehind) {
      t.equal(finished, 0)
      transport.drain()
    }
    t.equal(finished, 1)
    t.strictSame(names(transport), ['first', 'a', 'b'])
    t.equal(pool.queuedBytes, 0)
    t.end()
  })

  t.test('comes when its reader is given up, so that it is still told why', (t) => {
    const { outbox, pool } = makeStalled()
    outbox.write([message('a', 60 * KIB)])
    let finished = 0
    outbox.finish(() => { finished++ })
    outbox.closeAsSlow()
    t.equal(finished, 1)
    t.equal(pool.queuedBytes, 0)
    t.end()
  })

  t.test('lets go of everything when the peer has closed', (t) => {
    const { outbox, transport, pool } = makeStalled()
    outbox.write([message('a', 60 * KIB), sourceOf('b', 'c')])
    transport.state = 2
    transport.drain()
    t.match(outbox, { behind: false, closed: true })
    t.equal(pool.sent, 1)
    t.equal(pool.queuedBytes, 0)
    t.end()
  })

  t.test('never comes when the connection closes first', (t) => {
    const { outbox, transport, pool, overflows } = makeStalled()
    outbox.write([message('a', 60 * KIB), message('b', 60 * KIB)])
    outbox.finish(() => { t.fail('finished') })
    outbox.close()
    transport.drain()
    t.strictSame(names(transport), ['first'])
    t.match(pool, { queuedBytes: 0, dropped: 2, slowConsumers: 0 })
    outbox.close()
    t.equal(pool.dropped, 2)
    t.equal(overflows(), 0)
    t.end()
  })
  t.end()
})
