import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import t from 'tap'
import { fixtureOf } from '../../../sdks/run.js'
import type { Fixture } from '../../../sdks/suite.js'
import { readChunks } from '../../../support/streams.js'

const encoder = new TextEncoder()
const ui = ['data: {"type":"start"}', 'data: {"type":"text-start","id":"0"}', 'data: {"type":"text-delta","id":"0","delta":"Hé👋"}',
  'data: {"type":"text-end","id":"0"}', 'data: {"type":"finish","finishReason":"stop"}', 'data: [DONE]']
const DONE = { status: 'complete', text: 'Hé👋', finishReason: 'stop', rawFinishReason: 'stop' }

/** Cuts bytes at these places. */
function cut (bytes: Uint8Array, places: readonly number[]): Uint8Array[] {
  const sorted = [0, ...places.map((place) => place % (bytes.length + 1)).sort((a, b) => a - b), bytes.length]
  return sorted.slice(1).map((end, i) => bytes.subarray(sorted[i], end))
}

t.test('wherever the recorded bytes are cut, text and end are the same', async (t) => {
  for (const name of ['ai-5-response', 'ai-6-response', 'ai-7-response']) {
    const fixture = JSON.parse(readFileSync(fixtureOf(name), 'utf8')) as Fixture
    for (const [scenario, chunks] of Object.entries(fixture)) {
      const expected = readChunks(chunks)
      const wire = chunks.join('')
      for (const text of [wire, wire.replaceAll('\n', '\r\n'), wire.replaceAll('\n', '\r'), wire.replaceAll('\n\n', '\nevent: message\nid: 1\nretry: 5\n: keep-alive\n\n:\n\n'), wire.replaceAll('data: ', 'data:')]) {
        const bytes = encoder.encode(text)
        t.same(readChunks([bytes]), expected, `${name}, ${scenario}`)
        fc.assert(fc.property(fc.array(fc.nat(), { maxLength: 12 }), (places) => {
          assert.deepStrictEqual(readChunks(cut(bytes, places)), expected)
        }), { numRuns: 15 })
      }
      t.same(readChunks(Array.from(encoder.encode(wire)).map((byte) => Uint8Array.of(byte))), expected, `${name}, ${scenario}: each byte alone`)
      t.same(readChunks(Array.from(wire)), expected, `${name}, ${scenario}: strings, each character alone`)
    }
  }
})

t.test('server-sent events in all their forms', async (t) => {
  const rows: Array<[what: string, wire: string]> = [
    ['blank lines between', ui.join('\n\n')],
    ['CRLF', ui.join('\r\n\r\n') + '\r\n\r\n'],
    ['a comment first', `: hello\n\n${ui.join('\n\n')}`],
    ['an empty comment first', `:\n\n${ui.join('\n\n')}`],
    ['an event name first', ui.map((line) => `event: message\n${line}`).join('\n\n')],
    ['retry and id first', `retry: 3000\nid: 1\n\n${ui.join('\n\n')}`],
    ['data in several lines', ui.map((line) => line.replace('{"type"', '{\ndata: "type"')).join('\n\n')],
    ['an event without data', `${ui[0]}\n\nevent: ping\n\n${ui.slice(1).join('\n\n')}`],
    ['broken JSON in the middle', `${ui[0]}\n\ndata: {"type":\n\n${ui.slice(1).join('\n\n')}`],
    ['numbers in the middle', `${ui[0]}\n\ndata: 7\n\ndata: null\n\n${ui.slice(1).join('\n\n')}`],
    ['blank lines first', `\n\n${ui.join('\n\n')}`],
    ['a byte order mark first', `\ufeff${ui.join('\n\n')}`],
    ['line separators in the JSON', ui.join('\n\n').replace('"start"', '"start","messageId":"\u2028\u2029"')],
    ['an unknown field', `${ui[0]}\nfoo: bar\n\n${ui.slice(1).join('\n\n')}`]
  ]
  for (const [what, wire] of rows) {
    t.match(readChunks([wire]), DONE, what)
    t.match(readChunks(Array.from(wire)), DONE, `${what}, each character alone`)
  }
})

t.test('lines of JSON', async (t) => {
  const lines = ui.slice(0, -1).map((line) => line.slice(6))
  for (const end of ['\n', '\r\n', '\n\n']) {
    t.match(readChunks([lines.join(end)]), DONE)
    t.match(readChunks(Array.from(lines.join(end))), DONE, 'each character alone')
  }
})

t.test('a body that was cut is incomplete', async (t) => {
  const wire = ui.join('\n\n')
  for (const end of [wire.indexOf('data: {"type":"text-end"'), wire.indexOf('👋') - 1, wire.indexOf('{"type":"text-end"') + 5]) {
    t.match(readChunks([wire.slice(0, end)]), { status: 'error', type: 'incomplete' })
  }
  // `sendFinish: false`
  t.match(readChunks([[ui[0], ui[1], ui[2], ui[5]].join('\n\n')]), { status: 'complete', text: 'Hé👋', finishReason: 'unknown' }, 'an end is an end')
})

t.test('text that merely looks like it is text', async (t) => {
  const texts = [
    'data: the plural of datum', 'data:\n\n- one\n- two', 'data: {the first one}\n\nand more', 'event: a party\n\nOn Friday.', 'event: party\n\nOn Friday.', ': a colon', ':-)', ':\n', 'id: 7',
    'retry: later', 'retry: 5', 'data', 'dat', 'data: ', 'data: {"type":"start"} is how it begins.', 'data: [1, 2, 3]\n\nThese are numbers.', '{"type":"object","properties":{}}',
    '{"type":"object","properties":{}}\n', '{"type": "start"}', '{"type":"banana"}\n{"type":"apple"}\n', '{"id":7}', '{"error":"none"} is what it said.\n', '{ "a": 1 }\n',
    '{', '{}', '[]', '', '\n', '\n\ndata', '\r\n', '\r', '```\ndata: {"type":"start"}\n```', ' data: {"type":"start"}\n\n', '\ufeffHé', 'data: {the first one}\ndata: {the second one}\n\n', 'data: {the first\nand only}\n', 'data: [DON',
    'data: [D1]\n\n',
    `data: {"type":"${'x'.repeat(70_000)}`
  ]
  for (const text of texts) {
    t.equal(readChunks([text]).text, text, JSON.stringify(text.slice(0, 60)))
    t.equal(readChunks([...Array.from(text.slice(0, 200)), text.slice(200)]).text, text, 'each character alone')
    const bytes = Array.from(encoder.encode(text.slice(0, 200))).map((byte) => Uint8Array.of(byte))
    t.equal(readChunks([...bytes, encoder.encode(text.slice(200))]).text, text, 'each byte alone')
  }
})

t.test('of events of an unknown protocol nothing is shown', async (t) => {
  t.match(readChunks(['data: {"a":1}\n\n']), { status: 'complete', text: '' })
  t.match(readChunks(['data: [DONE]\n\n']), { status: 'complete', text: '' })
  t.match(readChunks(Array.from('data: [DONE]')), { status: 'complete', text: '' }, 'a line that never ends')
})

t.test('strings, bytes and objects may come mixed', async (t) => {
  const half = encoder.encode('👋').subarray(0, 2)
  const texts: Array<[chunks: unknown[], text: string]> = [
    [[half, '', encoder.encode('👋').subarray(2)], '👋'],
    [[half, 'Hé'], '\ufffdHé'],
    [['data:', { type: 'text-delta', id: '0', text: 'Hé' }], 'data:Hé'],
    [['data:', { type: 'start' }, ' x'], 'data: x'],
    [[null, 7, 'Hé'], 'Hé']
  ]
  for (const [chunks, text] of texts) t.equal(readChunks(chunks).text, text)
})
