import assert from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import { JobText } from '../../../lib/streams/job-text.js'
import { memoryInUse } from '../../support/memory.js'

t.test('append adds to the end, and returns the offset of each piece', async (t) => {
  const text = new JobText(100)
  t.strictSame(text.append('Hello'), { text: 'Hello', offset: 0, truncated: false })
  t.strictSame(text.append(''), { text: '', offset: 5, truncated: false })
  t.strictSame(text.append(', world'), { text: ', world', offset: 5, truncated: false })
  t.equal(text.end, 12)
  t.strictSame(text.slice(0), { text: 'Hello, world', offset: 0, truncated: false })
  t.strictSame(text.slice(3, 8), { text: 'lo, w', offset: 3, truncated: false })
  t.strictSame(text.slice(12), { text: '', offset: 12, truncated: false })
})

t.test('half of a surrogate pair is held back until the other half arrives', async (t) => {
  const text = new JobText(100)
  t.strictSame(text.append('a\ud83d'), { text: 'a', offset: 0, truncated: false })
  t.strictSame(text.append('\udc4bb'), { text: '👋b', offset: 1, truncated: false })
  text.append('\ud83d')
  t.strictSame(text.append('', true), { text: '\ud83d', offset: 4, truncated: false }, 'nothing comes any more')
  t.equal(text.end, 5)
})

t.test('the newest part is kept without splitting a surrogate pair, and a slice from before it is truncated', async (t) => {
  const text = new JobText(8)
  text.append('0123456')
  t.equal(text.units, 7)
  text.append('789')
  t.equal(text.end, 10)
  t.strictSame(text.slice(0), { text: '3456789', offset: 3, truncated: true })
  t.strictSame(text.slice(3), { text: '3456789', offset: 3, truncated: false })
  const pairs = new JobText(8)
  pairs.append('👋👋👋👋👋')
  t.equal(pairs.slice(0).text, '👋👋👋', 'without the half that would have fitted')
})

t.test('after discard, new pieces get the right offset', async (t) => {
  const text = new JobText(100)
  text.append('Hello')
  text.discard()
  t.equal(text.units, 0)
  t.strictSame(text.slice(0), { text: '', offset: 5, truncated: true })
  t.strictSame(text.append(', world'), { text: ', world', offset: 5, truncated: false })
  t.strictSame(text.slice(0), { text: ', world', offset: 5, truncated: true })
})

t.test('thousands of small pieces make one text', async (t) => {
  const text = new JobText(10_000)
  for (let i = 0; i < 2_000; i++) text.append(String(i % 10))
  t.equal(text.slice(0).text, '0123456789'.repeat(200))
  t.equal(text.slice(1_234, 1_240).text, '456789')
})

t.test('any slice equals that of the whole text, as far as it is kept', async () => {
  const piece = fc.string({ unit: fc.constantFrom('a', 'é', '\ud83d', '\udc4b', '👋'), maxLength: 8 })
  fc.assert(fc.property(fc.array(piece), fc.integer({ min: 1, max: 20 }), fc.nat(50), fc.nat(50), (pieces, maxUnits, from, length) => {
    const text = new JobText(maxUnits)
    const told = pieces.map((each) => text.append(each))
    told.push(text.append('', true))
    const whole = pieces.join('')
    assert.equal(told.map((each) => each.text).join(''), whole)
    for (const each of told) assert.equal(whole.slice(each.offset, each.offset + each.text.length), each.text)
    assert(text.units <= maxUnits)
    assert.equal(text.end, whole.length)
    const stretch = text.slice(from, from + length)
    if (!stretch.truncated) assert.equal(stretch.text, whole.slice(from, from + length))
    else assert.equal(stretch.text, whole.slice(stretch.offset, Math.max(stretch.offset, from + length)))
  }))
})

t.test('no memory beyond the kept text is held: no parent string of a piece, and no trimmed part', async (t) => {
  const MiB = 1024 * 1024
  const before = memoryInUse()
  const text = new JobText(MiB)
  // In separate functions, so that nothing else references the long strings.
  const append = (long: () => string): void => { text.append(long()) }
  append(() => 'x'.repeat(32 * MiB).slice(5, 5_000))
  t.ok(memoryInUse() - before < MiB)
  append(() => 'y'.repeat(32 * MiB))
  t.ok(text.units <= MiB)
  t.ok(memoryInUse() - before < 2 * MiB)
  t.ok(text.bytes >= 2 * text.units)
})
