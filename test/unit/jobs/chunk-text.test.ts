import assert from 'node:assert/strict'
import t from 'tap'
import fc from 'fast-check'
import { ChunkText } from '../../../lib/jobs/chunk-text.js'
import { readStream } from '../../fixtures/streams/read.js'

function textOf (chunks: readonly unknown[]): string {
  const text = new ChunkText()
  return chunks.map((chunk) => text.read(chunk)).join('') + text.end()
}

t.test('the text of strings is the strings', (t) => {
  t.equal(textOf(['a', '', '👋']), 'a👋')
  t.end()
})

t.test('a character that is cut across chunks of bytes comes with its last byte', (t) => {
  const text = new ChunkText()
  const bytes = Buffer.from('é👋')
  t.same([0, 1, 2, 3, 4, 5].map((at) => text.read(bytes.subarray(at, at + 1))), ['', 'é', '', '', '', '👋'])
  t.equal(text.end(), '')
  t.end()
})

t.test('half a character at the end of bytes is U+FFFD', (t) => {
  t.equal(textOf([Uint8Array.of(0x61, 0xf0, 0x9f)]), 'a\ufffd')
  t.end()
})

t.test('half a character before a string is U+FFFD, and a chunk without text between its bytes does not break it', (t) => {
  t.equal(textOf([Uint8Array.of(0xc3), 'a']), '\ufffda')
  t.equal(textOf([Uint8Array.of(0xc3), { type: 'ping' }, Uint8Array.of(0xa9)]), 'é')
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

t.test('bytes cut anywhere make the text that was encoded', (t) => {
  fc.assert(fc.property(fc.string({ unit: 'binary' }), fc.array(fc.nat()), (whole, cuts) => {
    const bytes = Buffer.from(whole)
    const ends = [...cuts.map((cut) => cut % (bytes.length + 1)), bytes.length].sort((a, b) => a - b)
    const chunks = ends.map((end, index) => bytes.subarray(ends[index - 1] ?? 0, end))
    assert.equal(textOf(chunks), whole)
  }))
  t.end()
})

const providers = [
  'openai-chat', 'openai-compatible', 'openai-responses', 'anthropic-messages', 'ai-sdk-4', 'ai-sdk-5', 'ai-sdk-5-ui'
]
for (const name of providers) {
  const { about, text, chunks } = readStream(name)
  t.test(`the text that a person reads is known in ${about}`, (t) => {
    t.equal(textOf(chunks), text)
    t.end()
  })
}

t.test('what is not known holds no text, and does no harm', (t) => {
  const strange = [
    undefined, null, 7, true, [], {}, () => 'a', Symbol('a'), { text: 'a' }, { type: 'text-delta' }, { type: 'text-delta', text: 7 },
    { type: 'response.output_text.delta', delta: {} }, { type: 'content_block_delta' }, { type: 'content_block_delta', delta: null },
    { type: 'content_block_delta', delta: { type: 'text_delta', text: null } }, { choices: 'a' }, { choices: [null, 1, {}] },
    { choices: [{ delta: 'a' }] }, { choices: [{ index: 1, delta: { content: 'a' } }] }
  ]
  t.equal(textOf(strange), '')
  t.end()
})

t.test('a function reads chunks of any shape, known ones too', (t) => {
  const text = new ChunkText((chunk: { token?: string } | string) => typeof chunk === 'string' ? chunk.toUpperCase() : chunk.token)
  t.same([{ token: 'a' }, {}, 'b'].map((chunk) => text.read(chunk)), ['a', '', 'B'])
  t.equal(text.end(), '')
  t.end()
})

t.test('what the function throws is thrown', (t) => {
  const text = new ChunkText(() => { throw new Error('no such field') })
  t.throws(() => text.read({}), { message: 'no such field' })
  t.end()
})
