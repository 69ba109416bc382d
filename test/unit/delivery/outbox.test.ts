import fc from 'fast-check'
import t from 'tap'
import { Frame, FRAGMENT_BYTES, type FrameSource } from '../../../lib/delivery/frame.js'
import { OutboxPool } from '../../../lib/delivery/outbox-pool.js'
import { Outbox, WRITE_AHEAD_BYTES } from '../../../lib/delivery/outbox.js'
import { FakeClock } from '../../support/fake-clock.js'
import { FakeTransport } from '../../support/fake-transport.js'

const KIB = 1024

/** A message of exactly the given bytes, including frame headers, that begins with its name. */
function message (name: string, bytes: number, collapseKey?: string): Frame {
  const headers = bytes < 2 + 126 ? 2 : 4 * Math.ceil(bytes / FRAGMENT_BYTES)
  return new Frame(name.padEnd(bytes - headers, '.'), { collapseKey })
}

/** A source that makes its frames on demand. */
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

/** An outbox whose client has stopped reading. Its socket is full, so that every further item is queued. */
function makeStalled (bounds?: Bounds): ReturnType<typeof makeOutbox> & ReturnType<typeof makePool> {
  const shared = makePool(bounds)
  const made = makeOutbox(shared.pool)
  made.transport.stalled = true
  made.outbox.write([message('first', WRITE_AHEAD_BYTES)])
  made.transport.pings.length = 0
  return { ...made, ...shared }
}

t.test('while the client keeps up', (t) => {
  t.test('frames are written at once, together', (t) => {
    const { pool } = makePool()
    const { outbox, transport } = makeOutbox(pool)
    outbox.write([message('a', 100), message('b', 100)])
    t.strictSame(names(transport), ['a', 'b'])
    t.equal(transport.writes.length, 1)
    t.match(pool, { sent: 2, queuedBytes: 0 })
    t.match(outbox, { isBehind: false, bufferedBytes: 0, stalledMs: 0 })
    outbox.write([])
    t.equal(transport.writes.length, 1)
    t.end()
  })

  t.test('frames that the caller has joined are written without a copy', (t) => {
    const { pool } = makePool()
    const { outbox, transport } = makeOutbox(pool)
    const frame = message('a', 100)
    t.ok(outbox.writeJoined(frame.bytes(false), [frame]))
    t.equal(transport.writes[0], frame.bytes(false))
    t.equal(pool.sent, 1)
    t.end()
  })

  t.test('a peer that accepts compression gets compressed frames', (t) => {
    const { pool } = makePool()
    const { outbox, transport } = makeOutbox(pool)
    transport.inflates = true
    const deflate = { thresholdBytes: 1024, ceilingBytes: 256 * KIB, windowBits: 10, level: 3, memLevel: 7, chunkSize: 1024 }
    const frame = new Frame('x'.repeat(5000), { deflate })
    outbox.write([frame])
    t.equal(transport.writes[0], frame.bytes(true))
    t.end()
  })

  t.test('a large amount is written in pieces, so that a ping never waits long', (t) => {
    const { pool } = makePool()
    const { outbox, transport } = makeOutbox(pool)
    const frames = Array.from({ length: 10 }, (_, i) => message(String(i), 20 * KIB))
    t.notOk(outbox.writeJoined(Buffer.concat(frames.map((frame) => frame.bytes(false))), frames))
    outbox.write(frames)
    t.strictSame(transport.writes.map(({ length }) => length / KIB), [60, 60, 60, 20])
    t.strictSame(names(transport), '0123456789'.split(''))
    t.end()
  })

  t.test('a long message is written fragment by fragment', (t) => {
    const { pool } = makePool()
    const { outbox, transport } = makeOutbox(pool)
    outbox.write([message('small', 1 * KIB), message('large', 300 * KIB), message('after', 1 * KIB)])
    t.strictSame(transport.writes.map(({ length }) => length / KIB), [1, 64, 64, 64, 64, 45])
    t.strictSame(names(transport), ['small', 'large', 'after'])
    t.match(pool, { sent: 3, queuedBytes: 0 })
    t.equal(outbox.isBehind, false)
    t.end()
  })

  t.test('frames of a source are written together with other frames, in one write', (t) => {
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

t.test('while the client is behind', (t) => {
  t.test('the socket gets about one piece, and the rest is queued', (t) => {
    const { pool } = makePool()
    const { outbox, transport } = makeOutbox(pool)
    transport.stalled = true
    outbox.write(Array.from({ length: 20 }, (_, i) => message(String(i), 20 * KIB)))
    t.equal(transport.bufferedBytes, 120 * KIB)
    t.equal(pool.queuedBytes, 280 * KIB)
    t.match(outbox, { isBehind: true, queuedBytes: 280 * KIB, bufferedBytes: 400 * KIB })
    t.equal(pool.sent, 6)
    t.end()
  })

  t.test('nothing overtakes the queue, even if the socket has room', (t) => {
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

  t.test('joined frames are not written if the socket is full', (t) => {
    const { outbox, transport } = makeStalled()
    const frame = message('b', 100)
    t.notOk(outbox.writeJoined(frame.bytes(false), [frame]))
    t.strictSame(names(transport), ['first'])
    t.notOk(outbox.isBehind, 'the caller must write them')
    t.end()
  })

  t.test('each drain writes the next piece, until the client has caught up', (t) => {
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

  t.test('a long message is queued by fragments, and pings are sent between them', (t) => {
    const { outbox, transport, pool } = makeStalled()
    outbox.write([message('a', 60 * KIB), message('large', 160 * KIB), message('b', 10 * KIB)])
    const waiting: number[] = []
    while (outbox.isBehind) {
      waiting.push(outbox.queuedBytes / KIB)
      transport.drain()
    }
    t.strictSame(waiting, [230, 106, 42])
    t.strictSame(transport.writes.map(({ length }) => length / KIB), [64, 60, 64, 64, 42])
    t.equal(transport.pings.length, 4, 'one after each write')
    t.strictSame(names(transport), ['first', 'a', 'large', 'b'])
    t.equal(pool.queuedBytes, 0)
    t.end()
  })

  t.test('the frames of a source cost nothing until there is room', (t) => {
    const { outbox, transport, pool } = makeStalled()
    const source = sourceOf(...'abcdefghijklmno'.split(''))
    outbox.write([source, message('after', 100)])
    t.ok(pool.queuedBytes < KIB)
    t.equal(source.left.length, 15)
    transport.drain()
    t.equal(15 - source.left.length, 13, 'as many as fit into one write, and one for the next write')
    while (outbox.isBehind) transport.drain()
    t.strictSame(names(transport), ['first', ...'abcdefghijklmno'.split(''), 'after'])
    t.equal(pool.queuedBytes, 0)
    t.end()
  })

  t.test('a long message is announced to a peer that supports it', (t) => {
    const { outbox, transport, clock } = makeStalled()
    transport.announcesLargeMessages = true
    outbox.write([message('a', 64 * KIB), message('large', 300 * KIB)])
    while (outbox.isBehind) transport.drain()
    t.strictSame(transport.texts.map((text) => text.startsWith('{') ? JSON.parse(text) as unknown : text.replace(/\.*$/, '')), [
      'first', 'a', { type: 'large_message', bytes: 300 * KIB, timestamp: new Date(clock.now()).toISOString() }, 'large'
    ])
    t.end()
  })

  t.test('stalledMs is the time without a read', (t) => {
    const { outbox, transport, clock } = makeStalled()
    clock.advance(1000)
    t.equal(outbox.stalledMs, 0, 'nothing is queued yet')
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
  t.test('keeps the newest frame of a key, in its own place', (t) => {
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

  t.test('never replaces messages without a key', (t) => {
    const { outbox, transport, pool } = makeStalled()
    // The second one's key looks like the number under which the first one is queued.
    outbox.write([message('start', 100), message('progress', 100, '0'), message('progress', 100, '0'), message('end', 100)])
    t.equal(pool.collapsed, 1)
    transport.drain()
    t.strictSame(names(transport), ['first', 'start', 'progress', 'end'])
    t.end()
  })

  t.test('does not affect written frames, or a client that keeps up', (t) => {
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

  t.test('makes room: a client that only lags in progress is never a slow consumer', (t) => {
    const { outbox, overflows, pool } = makeStalled({ maxOutboxBytes: 100 * KIB })
    for (let i = 0; i < 1000; i++) outbox.write([message(String(i), 20 * KIB, 'job')])
    t.equal(overflows(), 0)
    t.equal(pool.queuedBytes, 20 * KIB)
    t.end()
  })
  t.end()
})

t.test('a slow consumer', (t) => {
  t.test('is reported once if the queue would exceed its limit, and the queue is discarded', (t) => {
    const { outbox, transport, overflows, pool } = makeStalled({ maxOutboxBytes: 36 * KIB })
    outbox.write([message('a', 20 * KIB), message('b', 16 * KIB)])
    t.equal(outbox.queuedBytes, 36 * KIB)
    t.equal(overflows(), 0)
    outbox.write([message('c', 5), message('d', 5)])
    t.equal(overflows(), 1)
    t.match(outbox, { closed: true, isBehind: false, stalledMs: 0, bufferedBytes: WRITE_AHEAD_BYTES })
    t.match(pool, { queuedBytes: 0, slowConsumers: 1, sent: 1 })
    outbox.write([message('e', 100)])
    t.ok(outbox.writeJoined(Buffer.alloc(1), []), 'nothing is written')
    transport.drain()
    t.strictSame(names(transport), ['first'])
    t.equal(overflows(), 1)
    t.end()
  })

  t.test('drops the queued messages and the one that exceeded the limit', (t) => {
    const { outbox, pool } = makeStalled({ maxOutboxBytes: 50 * KIB })
    outbox.write([message('a', 20 * KIB), message('b', 20 * KIB), message('c', 20 * KIB)])
    t.equal(pool.dropped, 3)
    t.end()
  })

  t.test('may have one message larger than the limit queued, which does not count against it', (t) => {
    const { outbox, transport, overflows, pool } = makeStalled({ maxOutboxBytes: 100 * KIB })
    outbox.write([message('large', 500 * KIB), message('a', 60 * KIB), message('b', 40 * KIB)])
    t.equal(overflows(), 0)
    t.equal(outbox.queuedBytes, 600 * KIB)
    t.equal(pool.queuedBytes, 600 * KIB)
    transport.drain()
    outbox.write([message('also large', 500 * KIB)])
    t.equal(overflows(), 0, 'the first one is being written')
    t.equal(pool.queuedBytes, 1100 * KIB, 'it counts as queued until it is written')
    outbox.write([message('a third', 500 * KIB)])
    t.equal(overflows(), 1)
    t.equal(pool.queuedBytes, 0)
    t.match(pool, { dropped: 5 })
    t.end()
  })

  t.test('a long message in many queues counts once for the pool', (t) => {
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

  t.test('a progress larger than the limit contains the text of those it replaced', (t) => {
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

  t.test('a newer progress larger than the limit replaces an older one', (t) => {
    const { outbox, transport, overflows, pool } = makeStalled({ maxOutboxBytes: 100 * KIB })
    for (const name of ['old', 'new']) outbox.write([message(name, 200 * KIB, 'job')])
    t.equal(pool.queuedBytes, 200 * KIB)
    while (outbox.isBehind) transport.drain()
    t.strictSame(names(transport), ['first', 'new'])
    t.equal(overflows(), 0)
    t.equal(pool.queuedBytes, 0)
    t.end()
  })

  t.test('is not a client that answers the pings after its messages', (t) => {
    const { outbox, transport, clock } = makeStalled()
    outbox.write(Array.from({ length: 20 }, (_, i) => message(String(i), 20 * KIB)))
    transport.drain()
    transport.drain()
    clock.advance(5000)
    t.equal(outbox.stalledMs, 5000)
    t.ok(transport.pings.length > 0)
    const [oldest, ...others] = transport.pings as [Buffer, ...Buffer[]]
    t.ok(outbox.handlePong(Buffer.from('guessed')), 'it may answer another ping')
    t.equal(outbox.stalledMs, 5000, 'but does not prove a read')
    t.ok(outbox.handlePong(oldest))
    t.equal(outbox.stalledMs, 0)
    clock.advance(1000)
    t.equal(outbox.handlePong(oldest), others.length > 1)
    t.equal(outbox.stalledMs, 1000, 'a repeated pong does not prove a read')
    while (outbox.handlePong(oldest));
    t.notOk(outbox.handlePong(others.at(-1)!), 'an unsolicited pong is ignored')
    t.end()
  })

  t.test('never has more queued than the limit and one message', (t) => {
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
        // One larger than the limit may be queued, and one may be in flight.
        if (outbox.queuedBytes > 100 * KIB + 2 * largest) return false
      }
      outbox.close()
      return pool.queuedBytes === 0 && overflows() <= 1
    }))
    t.end()
  })
  t.end()
})

t.test('the limit of all outboxes', (t) => {
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

  t.test('closes the connection with the most queued bytes, not the one that would exceed the limit', (t) => {
    const { pool, slow } = setUp()
    for (const [at, kib] of [60, 70, 50].entries()) slow[at]!.outbox.write([message('a', kib * KIB)])
    t.equal(pool.queuedBytes, 180 * KIB)
    slow[2]!.outbox.write([message('b', 30 * KIB)])
    t.strictSame(slow.map(({ overflows }) => overflows()), [0, 1, 0])
    t.equal(pool.queuedBytes, 140 * KIB)
    t.match(pool, { slowConsumers: 1, dropped: 1 })
    t.end()
  })

  t.test('closes a client that has long read nothing before one that only paused', (t) => {
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

  t.test('closes the new connection if it has the most queued bytes', (t) => {
    const { pool, slow } = setUp()
    slow[0]!.outbox.write([message('a', 30 * KIB)])
    slow[1]!.outbox.write([message('a', 60 * KIB), message('b', 60 * KIB), message('c', 60 * KIB)])
    t.strictSame(slow.map(({ overflows }) => overflows()), [0, 1, 0])
    t.equal(pool.queuedBytes, 30 * KIB)
    t.match(pool, { dropped: 3 })
    t.end()
  })

  t.test('closes no client for a long message that many share, because that would free nothing', (t) => {
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

  t.test('includes the frame in flight', (t) => {
    const { pool } = makePool({ maxOutboxBytes: 100 * KIB, maxTotalBytes: 1000 * KIB })
    const slow = Array.from({ length: 4 }, () => makeOutbox(pool))
    for (const [at, { outbox, transport }] of slow.entries()) {
      transport.stalled = true
      outbox.write([message(`large ${at}`, 400 * KIB)])
      t.ok(pool.queuedBytes <= 1000 * KIB)
    }
    t.equal(pool.slowConsumers, 2, 'there is room for two of them')
    const small = makeOutbox(pool)
    small.transport.stalled = true
    small.outbox.write([message('first', 64 * KIB), message('b', 90 * KIB)])
    t.equal(small.overflows(), 0)
    for (const { outbox, transport } of [...slow, small]) while (outbox.isBehind) transport.drain()
    t.equal(pool.queuedBytes, 0)
    t.end()
  })

  t.test('closes no other connection if one message alone exceeds it', (t) => {
    const { pool, slow } = setUp()
    slow[0]!.outbox.write([message('a', 30 * KIB)])
    slow[1]!.outbox.write([message('b', 300 * KIB)])
    t.strictSame(slow.map(({ overflows }) => overflows()), [0, 1, 0])
    t.equal(pool.queuedBytes, 30 * KIB)
    t.end()
  })

  t.test('closes several connections if one does not free enough', (t) => {
    const { pool, slow } = setUp()
    for (const { outbox } of slow.slice(0, 2)) outbox.write([message('a', 60 * KIB)])
    slow[2]!.outbox.write([message('b', 190 * KIB)])
    t.strictSame(slow.map(({ overflows }) => overflows()), [1, 1, 0])
    t.equal(pool.queuedBytes, 190 * KIB)
    t.end()
  })

  t.test('closes the connection that is being written to, if it has the most queued bytes', (t) => {
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

  t.test('sends no pings if the transport has none', (t) => {
    const { outbox, transport } = makeOutbox(makePool().pool)
    Reflect.deleteProperty(transport, 'ping')
    outbox.ping(Buffer.from('x'))
    outbox.write([message('a', 300 * KIB)])
    t.notOk(outbox.handlePong(Buffer.from('x')))
    t.equal(outbox.freeableBytes, 0)
    t.end()
  })

  t.test('stops if there is no connection to close', (t) => {
    const { pool } = makePool({ maxTotalBytes: KIB })
    pool.makeRoom(2 * KIB)
    t.equal(pool.slowConsumers, 0)
    t.end()
  })

  t.test('has room again after a client catches up', (t) => {
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

t.test('finish', (t) => {
  t.test('calls back at once if nothing is queued', (t) => {
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

  t.test('waits for the backlog, and accepts no more items', (t) => {
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

  t.test('calls back if a slow consumer is closed, so that the close frame can be sent', (t) => {
    const { outbox, pool } = makeStalled()
    outbox.write([message('a', 60 * KIB)])
    let finished = 0
    outbox.finish(() => { finished++ })
    outbox.closeAsSlow()
    t.equal(finished, 1)
    t.equal(pool.queuedBytes, 0)
    t.end()
  })

  t.test('discards everything if the peer has closed', (t) => {
    const { outbox, transport, pool } = makeStalled()
    outbox.write([message('a', 60 * KIB), sourceOf('b', 'c')])
    transport.state = 2
    transport.drain()
    t.match(outbox, { isBehind: false, closed: true })
    t.equal(pool.sent, 1)
    t.equal(pool.queuedBytes, 0)
    t.end()
  })

  t.test('never calls back if the connection closes first', (t) => {
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
