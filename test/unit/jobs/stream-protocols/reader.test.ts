import assert from 'node:assert/strict'
import t from 'tap'
import fc from 'fast-check'
import { StreamReader } from '../../../../lib/jobs/stream-protocols/reader.js'

function textOf (chunks: readonly unknown[]): string {
  const reader = new StreamReader()
  return chunks.map((chunk) => reader.read(chunk)).join('') + reader.end()
}

function chat (content: unknown, finish_reason: string | null = null): object {
  return { choices: [{ index: 0, delta: { content }, finish_reason }] }
}

t.test('the text of strings is the strings', (t) => {
  t.equal(textOf(['a', '', '👋']), 'a👋')
  t.end()
})

t.test('a character that is cut across chunks of bytes comes with its last byte', (t) => {
  const reader = new StreamReader()
  const bytes = Buffer.from('é👋')
  t.same([0, 1, 2, 3, 4, 5].map((at) => reader.read(bytes.subarray(at, at + 1))), ['', 'é', '', '', '', '👋'])
  t.equal(reader.end(), '')
  t.end()
})

t.test('half a character at the end of bytes is U+FFFD', (t) => {
  t.equal(textOf([Uint8Array.of(0x61, 0xf0, 0x9f)]), 'a\ufffd')
  t.end()
})

t.test('half a character before a string is U+FFFD, and a chunk without text between its bytes does not break it', (t) => {
  t.equal(textOf([Uint8Array.of(0xc3), 'a']), '\ufffda')
  t.equal(textOf([Uint8Array.of(0xc3), { type: 'ping' }, Uint8Array.of(0xa9)]), 'é')
  t.equal(textOf([Uint8Array.of(0xc3), chat('a')]), '\ufffda')
  t.end()
})

t.test('a byte order mark stays, as in the text of strings', (t) => {
  t.equal(textOf([Buffer.from('\ufeffa')]), '\ufeffa')
  t.end()
})

t.test('bytes of another realm are bytes', (t) => {
  t.equal(textOf([new DataView(Uint8Array.of(0x61, 0x62).buffer)]), 'ab')
  t.end()
})

t.test('bytes and strings cut anywhere make the text that was encoded', (t) => {
  // Beginnings that could be a provider's wire format, too.
  const beginning = fc.constantFrom('', 'data: ', 'data: {', 'event: a\n', 'id: 7\n\n', ': a\n', '{"type":"', '{"id":1}\n', '\n')
  const whole = fc.tuple(beginning, fc.string({ unit: 'binary' })).map(([first, rest]) => first + rest)
  fc.assert(fc.property(whole, fc.array(fc.nat()), (text, cuts) => {
    // What is a format by chance is no text.
    fc.pre(!/\{.*\}/s.test(text))
    for (const encoded of [Buffer.from(text), text]) {
      const ends = [...cuts.map((cut) => cut % (encoded.length + 1)), encoded.length].sort((a, b) => a - b)
      assert.equal(textOf(ends.map((end, index) => encoded.slice(ends[index - 1] ?? 0, end))), text)
    }
  }), { numRuns: 500 })
  t.end()
})

t.test('what is not known holds no text, reports nothing, and does no harm', (t) => {
  const strange = [
    undefined, null, 7, true, [], {}, () => 'a', Symbol('a'), { text: 'a' }, { type: 'progress', text: 'a' }, { type: null }, { type: 7 }, [null], [[]],
    { error: null }, { error: '' }, { error: 0 }
  ]
  const reader = new StreamReader()
  t.equal(strange.map((chunk) => reader.read(chunk)).join('') + reader.end(), '')
  t.equal(reader.report.failure, undefined)
  t.same(reader.report.result, {})
  t.end()
})

t.test('the first chunk that a protocol recognises selects it', (t) => {
  const reader = new StreamReader()
  for (const chunk of [{ type: 'unknown' }, chat('a'), { type: 'response.output_text.delta', delta: 'b' }, chat('c', 'stop')]) reader.read(chunk)
  t.equal(reader.end(), '')
  t.same(reader.report.result, { finishReason: 'stop', rawFinishReason: 'stop' })
  t.equal(reader.unrecognisedKeys, undefined)
  t.equal(textOf([chat('a'), { type: 'response.output_text.delta', delta: 'b' }, chat('c')]), 'ac')
  t.end()
})

t.test('the keys of a first object that no protocol recognises are known, but not of too many', (t) => {
  const reader = new StreamReader()
  t.equal(reader.unrecognisedKeys, undefined)
  reader.read('a')
  t.equal(reader.unrecognisedKeys, undefined)
  reader.read({ token: 'a', index: 0 })
  reader.read({ other: 'a' })
  t.same(reader.unrecognisedKeys, ['token', 'index'])
  const large = new StreamReader()
  large.read(Object.fromEntries(Array.from({ length: 1000 }, (_, index) => [`key${index}`, index])))
  t.equal(large.unrecognisedKeys?.length, 20)
  t.end()
})

t.test('a function reads chunks of any shape, known ones too, and their end is still known', (t) => {
  const reader = new StreamReader((chunk: { token?: string } | string) => typeof chunk === 'string' ? chunk.toUpperCase() : chunk.token)
  t.same([{ token: 'a' }, {}, 'b', { ...chat('x', 'length'), token: 'c' }].map((chunk) => reader.read(chunk)), ['a', '', 'B', 'c'])
  t.equal(reader.end(), '')
  t.match(reader.report.result, { finishReason: 'length' })
  t.end()
})

t.test('what the function throws is thrown', (t) => {
  const reader = new StreamReader(() => { throw new Error('no such field') })
  t.throws(() => reader.read({}), { message: 'no such field' })
  t.end()
})

t.test('a function for the text must not return a promise', (t) => {
  const reader = new StreamReader((() => Promise.resolve('a')) as unknown as () => string)
  t.throws(() => reader.read({}), { name: 'TypeError', message: /"text" must not return a promise/ })
  t.end()
})
