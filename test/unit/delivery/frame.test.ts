import assert from 'node:assert/strict'
import { constants, deflateRawSync, inflateRawSync } from 'node:zlib'
import fc from 'fast-check'
import t from 'tap'
import { Frame, FRAGMENT_BYTES, joinBytes, type DeflateSettings } from '../../../lib/delivery/frame.js'
import { receive, senderFrame } from '../../support/ws-parts.js'

/** As documented for the platform. */
const settings: DeflateSettings = {
  thresholdBytes: 1024, ceilingBytes: 256 * 1024, windowBits: 10, level: 3, memLevel: 7, chunkSize: 1024
}

/** Each class of length that the header of one frame can say (RFC 6455, section 5.2), at its edges. */
const lengths = [0, 1, 125, 126, 127, 65_532]
/** Messages that go in several frames, at the edges of those. */
const longLengths = [65_533, 65_534, 65_532 + 125, 65_532 + 126, 2 * 65_532, 2 * 65_532 + 1, 300_000]

/** The message in a deflated frame: the four bytes that the sender left out are put back (RFC 7692, section 7.2.2). */
function inflate (frame: Buffer): string {
  const length = frame[1]!
  const payload = frame.subarray(length < 126 ? 2 : length === 126 ? 4 : 10)
  const whole = Buffer.concat([payload, Buffer.from([0, 0, 0xff, 0xff])])
  return inflateRawSync(whole, { finishFlush: constants.Z_SYNC_FLUSH, windowBits: settings.windowBits }).toString()
}

/** Text that compresses to about five eighths: 32 letters in no order. */
function noise (length: number): string {
  let seed = length
  return Array.from({ length }, () => {
    seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0
    return String.fromCharCode(64 + (seed >>> 27))
  }).join('')
}

t.test('a plain frame', (t) => {
  t.test('is byte for byte what ws writes, for every class of length', (t) => {
    for (const length of lengths) {
      const text = 'x'.repeat(length)
      t.ok(new Frame(text).bytes(false).equals(senderFrame(text)), `${length} bytes`)
    }
    t.end()
  })

  t.test('counts bytes and not characters', (t) => {
    // 42 * 3 = 126 bytes in 42 characters, 21,844 * 3 = 65,532 in a third as many, and one of 4 bytes beside them.
    for (const text of ['é', '€'.repeat(42), '€'.repeat(21_844), '💡'.repeat(31), '💡'.repeat(32)]) {
      t.ok(new Frame(text).bytes(false).equals(senderFrame(text)), `${Buffer.byteLength(text)} bytes`)
    }
    t.end()
  })

  t.test('is valid text even when half a pair of units is left alone', async (t) => {
    t.strictSame(await receive(new Frame('a\ud83db').bytes(false)), ['a\ufffdb'])
  })

  t.test('is what every peer gets when nothing is to be deflated', (t) => {
    const frame = new Frame('x'.repeat(5000))
    t.equal(frame.bytes(true), frame.bytes(false))
    t.end()
  })

  t.test('shows its payload without a header, for every class of length', (t) => {
    for (const length of [...lengths, ...longLengths]) {
      t.equal(new Frame('x'.repeat(length)).payload.toString(), 'x'.repeat(length), `${length} bytes`)
    }
    t.end()
  })
  t.end()
})

t.test('a long message', (t) => {
  t.test('goes in frames of 64 KiB, and reaches a client unchanged', async (t) => {
    for (const length of longLengths) {
      const text = noise(length)
      const bytes = new Frame(text).bytes(false)
      t.equal(bytes[0], 0x01, 'a text message that goes on')
      for (let at = FRAGMENT_BYTES; at < bytes.length; at += FRAGMENT_BYTES) {
        t.equal(bytes[at], at + FRAGMENT_BYTES < bytes.length ? 0x00 : 0x80, `a frame begins at byte ${at}`)
      }
      t.strictSame(await receive(bytes), [text], `${length} bytes`)
    }
  })

  t.test('has its fields behind the last one, and counts bytes', async (t) => {
    const text = `{"text":"${'é'.repeat(50_000)}"}`
    t.strictSame(await receive(new Frame(text, { addition: ',"seq":7}' }).bytes(false)), [`${text.slice(0, -1)},"seq":7}`])
  })

  t.test('lets pings go out wherever a frame ends', async (t) => {
    const text = noise(200_000)
    const bytes = new Frame(text).bytes(false)
    const ping = Buffer.from([0x89, 0])
    const parts: Buffer[] = []
    for (let at = 0; at < bytes.length; at += FRAGMENT_BYTES) parts.push(bytes.subarray(at, at + FRAGMENT_BYTES), ping)
    t.strictSame(await receive(Buffer.concat(parts)), [text])
  })

  t.test('deflates as a whole, and goes in frames if it is still long', async (t) => {
    const text = noise(240_000)
    const bytes = new Frame(text, { deflate: settings }).bytes(true)
    t.ok(bytes.length > 2 * FRAGMENT_BYTES && bytes.length < text.length)
    t.equal(bytes[0], 0x41, 'only the first frame says that it is deflated')
    t.equal(bytes[FRAGMENT_BYTES], 0x00)
    t.strictSame(await receive(bytes), [text])
  })
  t.end()
})

t.test('a deflated frame', (t) => {
  t.test('is a text frame with the bit that says so, and inflates to the message', (t) => {
    for (const length of [1024, 3000, 65_536, 240_000]) {
      const text = '{"chunk":"ü"}'.repeat(length / 13).padEnd(length, 'x')
      const bytes = new Frame(text, { deflate: settings }).bytes(true)
      t.equal(bytes[0], 0xc1)
      t.ok(bytes.length < text.length / 5, `${length} became ${bytes.length}`)
      t.equal(inflate(bytes), text)
    }
    t.end()
  })

  t.test('has the right header for each class of deflated length', async (t) => {
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

  t.test('is read by a real client, beside plain ones, in a window as small as was negotiated', async (t) => {
    const texts = ['short', noise(2000), 'long '.repeat(5000), 'short again', noise(70_000)]
    const frames = texts.map((text) => new Frame(text, { deflate: settings }))
    const bytes = Buffer.concat(frames.map((frame) => frame.bytes(true)))
    t.strictSame(await receive(bytes, { serverMaxWindowBits: 10 }), texts)
  })

  t.test('needs no window larger than the one negotiated', (t) => {
    // What repeats is 2 KiB away: a window of 10 bits can't reach it, and inflating in one fails if the sender did.
    const text = noise(2048).repeat(4)
    const bytes = new Frame(text, { deflate: settings }).bytes(true)
    t.equal(inflate(bytes), text)
    t.ok(new Frame(text, { deflate: { ...settings, windowBits: 15 } }).bytes(true).length < bytes.length / 2)
    t.end()
  })

  t.test('inflates also where zlib wrote its end marker twice', (t) => {
    // It does when a flush ends where one of the pieces ends that it works in, here of 1,024 bytes.
    let twice = 0
    for (let length = 1500; length < 1700; length++) {
      const text = noise(length)
      const bytes = new Frame(text, { deflate: settings }).bytes(true)
      if (bytes.subarray(-5).equals(Buffer.from([0, 0, 0xff, 0xff, 0]))) twice++
      if (inflate(bytes) !== text) t.fail(`${length} bytes`)
    }
    t.ok(twice > 0, 'this was among them')
    t.end()
  })

  t.test('brings any text to a client unchanged', async () => {
    const texts = fc.array(fc.oneof(fc.string({ unit: 'binary' }), fc.string({ unit: 'grapheme', minLength: 400, maxLength: 900 })), { maxLength: 4 })
    await fc.assert(fc.asyncProperty(texts, async (texts) => {
      const frames = texts.map((text) => new Frame(text, { deflate: { ...settings, thresholdBytes: 16 } }))
      assert.deepEqual(await receive(Buffer.concat(frames.map((frame) => frame.bytes(true)))), texts)
      assert.deepEqual(await receive(Buffer.concat(frames.map((frame) => frame.bytes(false)))), texts)
    }), { numRuns: 50 })
  })
  t.end()
})

t.test('a message goes plain also to a peer that inflates', (t) => {
  const goesPlain = (text: string, deflate = settings): boolean => {
    const frame = new Frame(text, { deflate })
    return frame.bytes(true) === frame.bytes(false)
  }

  t.test('below the threshold, counted in bytes', (t) => {
    t.ok(goesPlain('x'.repeat(1023)))
    t.notOk(goesPlain('x'.repeat(1024)))
    t.ok(goesPlain('é'.repeat(511)))
    t.notOk(goesPlain('é'.repeat(512)))
    t.end()
  })

  t.test('above the ceiling, counted in bytes', (t) => {
    t.notOk(goesPlain('x'.repeat(256 * 1024)))
    t.ok(goesPlain('x'.repeat(256 * 1024 + 1)))
    t.ok(goesPlain('é'.repeat(128 * 1024 + 1)))
    t.end()
  })

  t.test('when deflating makes it no shorter', (t) => {
    const deflate = { ...settings, thresholdBytes: 0 }
    t.ok(goesPlain('', deflate))
    t.ok(goesPlain('q', deflate))
    // Stored as it is, or grown.
    t.ok(goesPlain(noise(4000), { ...deflate, level: 0 }))
    t.end()
  })
  t.end()
})

t.test('a frame is made once and shared', (t) => {
  t.test('each kind is the same buffer whoever asks, and however often', (t) => {
    const frame = new Frame('x'.repeat(3000), { deflate: settings })
    const plain = frame.bytes(false)
    const deflated = frame.bytes(true)
    t.not(plain, deflated)
    t.equal(frame.bytes(true), deflated)
    t.equal(frame.bytes(false), plain)
    t.equal(frame.payload.buffer, plain.buffer)
    t.end()
  })

  t.test('nothing that it is asked for changes its bytes', async (t) => {
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

  t.test('it keeps the key under which a newer one replaces it', (t) => {
    t.equal(new Frame('x', { collapseKey: 'ai_progress' }).collapseKey, 'ai_progress')
    t.equal(new Frame('x').collapseKey, undefined)
    t.end()
  })
  t.end()
})

t.test('pieces are joined in order, and a single one is not copied', (t) => {
  const [a, b] = [Buffer.from('a'), Buffer.from('b')]
  t.equal(joinBytes([a]), a)
  t.equal(joinBytes([a, b]).toString(), 'ab')
  t.equal(joinBytes([]).length, 0)
  t.end()
})
