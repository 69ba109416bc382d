import fc from 'fast-check'
import t from 'tap'
import { Frame } from '../../../lib/delivery/frame.js'
import { Outbox, OutboxPool, WRITE_AHEAD_BYTES } from '../../../lib/delivery/outbox.js'
import { FakeClock } from '../../support/fake-clock.js'
import { FakeTransport } from '../../support/fake-transport.js'

const KIB = 1024

/** A message of exactly so many bytes, frame and all, that begins with its name. */
function message (name: string, bytes: number, collapseKey?: string): Frame {
  const header = bytes < 2 + 126 ? 2 : bytes < 4 + 64 * KIB ? 4 : 10
  return new Frame(name.padEnd(bytes - header, '.'), { collapseKey })
}

function names (transport: FakeTransport): string[] {
  return transport.texts.map((text) => text.replace(/\.*$/, ''))
}

interface Bounds { maxOutboxBytes?: number, maxTotalBytes?: number }

function makePool ({ maxOutboxBytes = 1024 * KIB, maxTotalBytes = 4096 * KIB }: Bounds = {}): { pool: OutboxPool, clock: FakeClock } {
  const clock = new FakeClock()
  return { clock, pool: new OutboxPool({ maxOutboxBytes, maxTotalBytes, monotonic: () => clock.monotonic() }) }
}

function makeOutbox (pool: OutboxPool): { outbox: Outbox, transport: FakeTransport, overflows: () => number } {
  const transport = new FakeTransport()
  let overflows = 0
  const outbox = new Outbox(transport, pool, () => {
    t.ok(outbox.closed, 'by then the outbox is closed')
    t.notOk(outbox.behind, 'and its memory is free')
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
  return { ...made, ...shared }
}

t.test('while the reader keeps up', (t) => {
  t.test('frames leave at once, together', (t) => {
    const { pool } = makePool()
    const { outbox, transport } = makeOutbox(pool)
    outbox.write([message('a', 100), message('b', 100)])
    t.strictSame(names(transport), ['a', 'b'])
    t.equal(transport.writes.length, 1)
    t.match(pool, { sent: 2, waitingBytes: 0 })
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

  t.test('a frame that is more than a piece goes whole', (t) => {
    const { pool } = makePool()
    const { outbox, transport } = makeOutbox(pool)
    outbox.write([message('small', 1 * KIB), message('large', 300 * KIB), message('after', 1 * KIB)])
    t.strictSame(transport.writes.map(({ length }) => length / KIB), [1, 300, 1])
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
    t.equal(pool.waitingBytes, 280 * KIB)
    t.match(outbox, { behind: true, bufferedBytes: 400 * KIB })
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
    t.notOk(outbox.behind, 'it is for the caller to write them')
    t.end()
  })

  t.test('each time it has read, it gets the next piece, until it has caught up', (t) => {
    const { outbox, transport, pool } = makeStalled()
    outbox.write(Array.from({ length: 10 }, (_, i) => message(String(i), 20 * KIB)))
    const waiting: number[] = []
    while (outbox.behind) {
      transport.drain()
      waiting.push(pool.waitingBytes / KIB)
      t.equal(outbox.bufferedBytes, transport.bufferedBytes + pool.waitingBytes)
    }
    t.strictSame(waiting, [120, 40, 0])
    t.strictSame(names(transport), ['first', ...'0123456789'.split('')])
    transport.stalled = false
    transport.drain()
    outbox.write([message('after', 100)])
    t.equal(names(transport).at(-1), 'after')
    t.equal(pool.sent, 12)
    t.end()
  })

  t.test('a large message goes with the piece that it begins in', (t) => {
    const { outbox, transport } = makeStalled()
    outbox.write([message('a', 60 * KIB), message('large', 300 * KIB), message('b', 10 * KIB)])
    transport.drain()
    t.strictSame(transport.writes.map(({ length }) => length / KIB), [64, 60, 300])
    t.ok(outbox.behind)
    transport.drain()
    t.strictSame(names(transport), ['first', 'a', 'large', 'b'])
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
    while (outbox.behind) transport.drain()
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
    t.equal(pool.waitingBytes, 100 + 100 + 300)
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
    t.equal(pool.waitingBytes, 20 * KIB)
    t.end()
  })
  t.end()
})

t.test('a reader that is too slow', (t) => {
  t.test('is reported once when more would wait than may, and what waited is let go', (t) => {
    const { outbox, transport, overflows, pool } = makeStalled({ maxOutboxBytes: 100 * KIB })
    outbox.write([message('a', 20 * KIB), message('b', 16 * KIB)])
    t.equal(outbox.bufferedBytes, 100 * KIB)
    t.equal(overflows(), 0)
    outbox.write([message('c', 5), message('d', 5)])
    t.equal(overflows(), 1)
    t.match(outbox, { closed: true, behind: false, stalledMs: 0, bufferedBytes: WRITE_AHEAD_BYTES })
    t.match(pool, { waitingBytes: 0, shed: 1, sent: 1 })
    outbox.write([message('e', 100)])
    t.ok(outbox.writeJoined(Buffer.alloc(1), []), 'there is nothing left to do')
    transport.drain()
    t.strictSame(names(transport), ['first'])
    t.equal(overflows(), 1)
    t.end()
  })

  t.test('costs the messages that waited and the one too many', (t) => {
    const { outbox, pool } = makeStalled({ maxOutboxBytes: 120 * KIB })
    outbox.write([message('a', 20 * KIB), message('b', 20 * KIB), message('c', 20 * KIB)])
    t.equal(pool.dropped, 3)
    t.end()
  })

  t.test('may have one message of any size wait, while less than the bound does', (t) => {
    const { outbox, overflows } = makeStalled({ maxOutboxBytes: 100 * KIB })
    outbox.write([message('large', 500 * KIB)])
    t.equal(overflows(), 0)
    t.ok(outbox.behind)
    outbox.write([message('small', 100)])
    t.equal(overflows(), 1)
    t.end()
  })

  t.test('may have none wait once the socket alone holds more than the bound', (t) => {
    const { pool } = makePool({ maxOutboxBytes: 100 * KIB })
    const { outbox, transport, overflows } = makeOutbox(pool)
    transport.stalled = true
    outbox.write([message('large', 500 * KIB)])
    t.equal(overflows(), 0)
    outbox.write([message('large', 500 * KIB)])
    t.equal(overflows(), 1)
    t.equal(outbox.bufferedBytes, 500 * KIB)
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
        if (outbox.bufferedBytes > 100 * KIB + largest) return false
      }
      outbox.close()
      return pool.waitingBytes === 0 && overflows() <= 1
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

  t.test('costs the one that would pass it, and only that one', (t) => {
    const { pool, slow } = setUp()
    for (const { outbox } of slow) outbox.write([message('a', 60 * KIB)])
    t.equal(pool.waitingBytes, 180 * KIB)
    slow[1]!.outbox.write([message('b', 20 * KIB)])
    t.equal(pool.waitingBytes, 200 * KIB)
    slow[0]!.outbox.write([message('c', 5)])
    t.strictSame(slow.map(({ overflows }) => overflows()), [1, 0, 0])
    t.equal(pool.waitingBytes, 140 * KIB)
    t.match(pool, { shed: 1, dropped: 2 })
    t.end()
  })

  t.test('holds for the first message that would wait, too', (t) => {
    const { pool, slow } = setUp()
    slow[0]!.outbox.write([message('a', 150 * KIB)])
    slow[1]!.outbox.write([message('b', 60 * KIB)])
    t.strictSame(slow.map(({ overflows }) => overflows()), [0, 1, 0])
    t.equal(pool.waitingBytes, 150 * KIB)
    t.end()
  })

  t.test('leaves room again when a reader catches up', (t) => {
    const { pool, slow } = setUp()
    slow[0]!.outbox.write([message('a', 150 * KIB)])
    slow[0]!.transport.drain()
    t.equal(pool.waitingBytes, 0)
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
    t.ok(outbox.stalledMs >= 0 && outbox.behind)
    while (outbox.behind) {
      t.equal(finished, 0)
      transport.drain()
    }
    t.equal(finished, 1)
    t.strictSame(names(transport), ['first', 'a', 'b'])
    t.equal(pool.waitingBytes, 0)
    t.end()
  })

  t.test('never comes when the connection closes first', (t) => {
    const { outbox, transport, pool, overflows } = makeStalled()
    outbox.write([message('a', 60 * KIB), message('b', 60 * KIB)])
    outbox.finish(() => { t.fail('finished') })
    outbox.close()
    transport.drain()
    t.strictSame(names(transport), ['first'])
    t.match(pool, { waitingBytes: 0, dropped: 2, shed: 0 })
    outbox.close()
    t.equal(pool.dropped, 2)
    t.equal(overflows(), 0)
    t.end()
  })
  t.end()
})
