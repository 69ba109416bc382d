import assert from 'node:assert/strict'
import { constants, deflateRawSync, inflateRawSync } from 'node:zlib'
import fc from 'fast-check'
import t from 'tap'
import { Frame, FRAGMENT_BYTES, joinBytes, type DeflateSettings } from '../../../lib/delivery/frame.js'
import { receive, senderFrame } from '../../support/ws-parts.js'

/** The settings that the platform documents. */
const settings: DeflateSettings = {
  thresholdBytes: 1024, ceilingBytes: 256 * 1024, windowBits: 10, level: 3, memLevel: 7, chunkSize: 1024
}

/** The limits of each length class of a frame header (RFC 6455, section 5.2). */
const lengths = [0, 1, 125, 126, 127, 65_532]
/** Lengths at the limits of one, two and more fragments. */
const longLengths = [65_533, 65_534, 65_532 + 125, 65_532 + 126, 2 * 65_532, 2 * 65_532 + 1, 300_000]

/** Inflates the message, after adding the four bytes that the sender left out (RFC 7692, section 7.2.2). */
function inflate (frame: Buffer): string {
  const length = frame[1]!
  const payload = frame.subarray(length < 126 ? 2 : length === 126 ? 4 : 10)
  const whole = Buffer.concat([payload, Buffer.from([0, 0, 0xff, 0xff])])
  return inflateRawSync(whole, { finishFlush: constants.Z_SYNC_FLUSH, windowBits: settings.windowBits }).toString()
}

/** Text that compresses to about five eighths: random letters out of 32. */
function noise (length: number): string {
  let seed = length
  return Array.from({ length }, () => {
    seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0
    return String.fromCharCode(64 + (seed >>> 27))
  }).join('')
}

t.test('a plain frame', (t) => {
  t.test('equals the bytes that ws writes, for every length class', (t) => {
    for (const length of lengths) {
      const text = 'x'.repeat(length)
      t.ok(new Frame(text).bytes(false).equals(senderFrame(text)), `${length} bytes`)
    }
    t.end()
  })

  t.test('counts bytes, not characters', (t) => {
    // 42 characters are 42 * 3 = 126 bytes; 21,844 are 65,532 bytes, plus one character of 4 bytes.
    for (const text of ['é', '€'.repeat(42), '€'.repeat(21_844), '💡'.repeat(31), '💡'.repeat(32)]) {
      t.ok(new Frame(text).bytes(false).equals(senderFrame(text)), `${Buffer.byteLength(text)} bytes`)
    }
    t.end()
  })

  t.test('is valid UTF-8 even with a lone surrogate', async (t) => {
    t.strictSame(await receive(new Frame('a\ud83db').bytes(false)), ['a\ufffdb'])
  })

  t.test('is sent to every peer without compression settings', (t) => {
    const frame = new Frame('x'.repeat(5000))
    t.equal(frame.bytes(true), frame.bytes(false))
    t.end()
  })

  t.test('returns its payload without the header, for every length class', (t) => {
    for (const length of [...lengths, ...longLengths]) {
      t.equal(new Frame('x'.repeat(length)).payload.toString(), 'x'.repeat(length), `${length} bytes`)
    }
    t.end()
  })
  t.end()
})

t.test('a long message', (t) => {
  t.test('is sent in frames of 64 KiB, and reaches a client unchanged', async (t) => {
    for (const length of longLengths) {
      const text = noise(length)
      const bytes = new Frame(text).bytes(false)
      t.equal(bytes[0], 0x01, 'the first fragment of a text message')
      for (let at = FRAGMENT_BYTES; at < bytes.length; at += FRAGMENT_BYTES) {
        t.equal(bytes[at], at + FRAGMENT_BYTES < bytes.length ? 0x00 : 0x80, `a frame begins at byte ${at}`)
      }
      t.strictSame(await receive(bytes), [text], `${length} bytes`)
    }
  })

  t.test('is fragmented by its bytes, not its characters', async (t) => {
    const text = `{"text":"${'é'.repeat(50_000)}"}`
    t.strictSame(await receive(new Frame(text).bytes(false)), [text])
  })

  t.test('allows pings between its frames', async (t) => {
    const text = noise(200_000)
    const bytes = new Frame(text).bytes(false)
    const ping = Buffer.from([0x89, 0])
    const parts: Buffer[] = []
    for (let at = 0; at < bytes.length; at += FRAGMENT_BYTES) parts.push(bytes.subarray(at, at + FRAGMENT_BYTES), ping)
    t.strictSame(await receive(Buffer.concat(parts)), [text])
  })

  t.test('is compressed as a whole, and fragmented if it is still long', async (t) => {
    const text = noise(240_000)
    const bytes = new Frame(text, { deflate: settings }).bytes(true)
    t.ok(bytes.length > 2 * FRAGMENT_BYTES && bytes.length < text.length)
    t.equal(bytes[0], 0x41, 'only the first frame has the compression bit')
    t.equal(bytes[FRAGMENT_BYTES], 0x00)
    t.strictSame(await receive(bytes), [text])
  })
  t.end()
})

t.test('a deflated frame', (t) => {
  t.test('is a text frame with the compression bit, and inflates to the message', (t) => {
    for (const length of [1024, 3000, 65_536, 240_000]) {
      const text = '{"chunk":"ü"}'.repeat(length / 13).padEnd(length, 'x')
      const bytes = new Frame(text, { deflate: settings }).bytes(true)
      t.equal(bytes[0], 0xc1)
      t.ok(bytes.length < text.length / 5, `${length} became ${bytes.length}`)
      t.equal(inflate(bytes), text)
    }
    t.end()
  })

  t.test('has the right header for each class of compressed length', async (t) => {
    const large = { ...settings, thresholdBytes: 0 }
    for (const [length, [least, most]] of [[150, [0, 125]], [3000, [126, 65_532]]] as const) {
      const text = noise(length)
      const bytes = new Frame(text, { deflate: large }).bytes(true)
      const { length: deflated } = deflateRawSync(text, { ...settings, finishFlush: constants.Z_SYNC_FLUSH })
      t.ok(deflated - 4 >= least && deflated - 4 <= most, `${length} became ${deflated - 4}`)
      t.equal(bytes.length, deflated - 4 + (most === 125 ? 2 : 4))
      t.strictSame(await receive(bytes), [text])
    }
  })

  t.test('is read by a real client, among plain ones, with the negotiated window', async (t) => {
    const texts = ['short', noise(2000), 'long '.repeat(5000), 'short again', noise(70_000)]
    const frames = texts.map((text) => new Frame(text, { deflate: settings }))
    const bytes = Buffer.concat(frames.map((frame) => frame.bytes(true)))
    t.strictSame(await receive(bytes, { serverMaxWindowBits: 10 }), texts)
  })

  t.test('needs no window larger than the one negotiated', (t) => {
    // The repetition is 2 KiB away, beyond a window of 10 bits. If the sender used it, inflating fails.
    const text = noise(2048).repeat(4)
    const bytes = new Frame(text, { deflate: settings }).bytes(true)
    t.equal(inflate(bytes), text)
    t.ok(new Frame(text, { deflate: { ...settings, windowBits: 15 } }).bytes(true).length < bytes.length / 2)
    t.end()
  })

  t.test('inflates correctly where zlib wrote its end marker twice', (t) => {
    // This happens if the output ends exactly at a chunk boundary, here of 1,024 bytes.
    let twice = 0
    for (let length = 1500; length < 1700; length++) {
      const text = noise(length)
      const bytes = new Frame(text, { deflate: settings }).bytes(true)
      if (bytes.subarray(-5).equals(Buffer.from([0, 0, 0xff, 0xff, 0]))) twice++
      if (inflate(bytes) !== text) t.fail(`${length} bytes`)
    }
    t.ok(twice > 0, 'such a case occurred')
    t.end()
  })

  t.test('transports any text to a client unchanged', async () => {
    const texts = fc.array(fc.oneof(fc.string({ unit: 'binary' }), fc.string({ unit: 'grapheme', minLength: 400, maxLength: 900 })), { maxLength: 4 })
    await fc.assert(fc.asyncProperty(texts, async (texts) => {
      const frames = texts.map((text) => new Frame(text, { deflate: { ...settings, thresholdBytes: 16 } }))
      assert.deepEqual(await receive(Buffer.concat(frames.map((frame) => frame.bytes(true)))), texts)
      assert.deepEqual(await receive(Buffer.concat(frames.map((frame) => frame.bytes(false)))), texts)
    }), { numRuns: 50 })
  })
  t.end()
})

t.test('a message is sent uncompressed to a peer that accepts compression', (t) => {
  const goesPlain = (text: string, deflate = settings): boolean => {
    const frame = new Frame(text, { deflate })
    return frame.bytes(true) === frame.bytes(false)
  }

  t.test('below the threshold in bytes', (t) => {
    t.ok(goesPlain('x'.repeat(1023)))
    t.notOk(goesPlain('x'.repeat(1024)))
    t.ok(goesPlain('é'.repeat(511)))
    t.notOk(goesPlain('é'.repeat(512)))
    t.end()
  })

  t.test('above the ceiling in bytes', (t) => {
    t.notOk(goesPlain('x'.repeat(256 * 1024)))
    t.ok(goesPlain('x'.repeat(256 * 1024 + 1)))
    t.ok(goesPlain('é'.repeat(128 * 1024 + 1)))
    t.end()
  })

  t.test('if compression does not make it shorter', (t) => {
    const deflate = { ...settings, thresholdBytes: 0 }
    t.ok(goesPlain('', deflate))
    t.ok(goesPlain('q', deflate))
    // The compressed form has the same length, or is longer.
    t.ok(goesPlain(noise(4000), { ...deflate, level: 0 }))
    t.end()
  })
  t.end()
})

t.test('a frame is made once and shared', (t) => {
  t.test('each kind is always the same buffer', (t) => {
    const frame = new Frame('x'.repeat(3000), { deflate: settings })
    const plain = frame.bytes(false)
    const deflated = frame.bytes(true)
    t.not(plain, deflated)
    t.equal(frame.bytes(true), deflated)
    t.equal(frame.bytes(false), plain)
    t.equal(frame.payload.buffer, plain.buffer)
    t.end()
  })

  t.test('its methods do not change its bytes', async (t) => {
    const text = noise(3000)
    const frame = new Frame(text, { deflate: settings })
    const before = Buffer.from(frame.bytes(false))
    const deflated = Buffer.from(frame.bytes(true))
    await receive(frame.bytes(true))
    await receive(frame.bytes(false))
    joinBytes([frame.bytes(false), frame.bytes(true)]).fill(0)
    t.ok(frame.bytes(false).equals(before))
    t.ok(frame.bytes(true).equals(deflated))
    t.equal(frame.payload.toString(), text)
    t.end()
  })

  t.test('it keeps its collapse key', (t) => {
    t.equal(new Frame('x', { collapseKey: 'ai_progress' }).collapseKey, 'ai_progress')
    t.equal(new Frame('x').collapseKey, undefined)
    t.end()
  })
  t.end()
})

t.test('joinBytes keeps the order, and does not copy a single buffer', (t) => {
  const [a, b] = [Buffer.from('a'), Buffer.from('b')]
  t.equal(joinBytes([a]), a)
  t.equal(joinBytes([a, b]).toString(), 'ab')
  t.equal(joinBytes([]).length, 0)
  t.end()
})
