import assert from 'node:assert/strict'
import t from 'tap'
import fc from 'fast-check'
import { readChunks } from '../../../support/streams.js'

const chunks = [
  { id: 'chatcmpl-1', object: 'chat.completion.chunk', choices: [{ index: 0, delta: { role: 'assistant', content: '' } }] },
  { id: 'chatcmpl-1', object: 'chat.completion.chunk', choices: [{ index: 0, delta: { content: 'Héllo\n\n' } }] },
  { id: 'chatcmpl-1', object: 'chat.completion.chunk', choices: [{ index: 0, delta: { content: 'data: 👋' }, finish_reason: 'stop' }] }
]
const json = chunks.map((chunk) => JSON.stringify(chunk))
const ended = { status: 'complete', text: 'Héllo\n\ndata: 👋', finishReason: 'stop', rawFinishReason: 'stop' }

/** The same chunks in every form in which they go over a wire. */
const wires: Record<string, string> = {
  'server-sent events': json.map((line) => `data: ${line}\n\n`).join('') + 'data: [DONE]\n\n',
  'events without a space': json.map((line) => `data:${line}\n\n`).join(''),
  'events with CRLF': json.map((line) => `data: ${line}\r\n\r\n`).join(''),
  'events with CR': json.map((line) => `data: ${line}\r\r`).join(''),
  'events with names, numbers, retry and comments': `: keep-alive\n\nretry: 100\n\n${json.map((line, at) => `event: chunk.${at}\nid: ${at}\ndata: ${line}\n\n: \n`).join('')}`,
  'events after a line of another field': json.map((line) => `event: chunk\ndata: ${line}\n\n`).join(''),
  'events whose last one lacks its end': json.map((line) => `data: ${line}`).join('\n\n'),
  'events with data that is no JSON between them': json.map((line) => `data: ${line}\n\ndata: ping\n\ndata: 7\n\n`).join(''),
  'an event of several lines of data': `data: ${json[0]}\n\n${json.slice(1).map((line) => `data: ${line.replace(',', ',\ndata: ')}\n\n`).join('')}`,
  'lines of JSON': json.map((line) => `${line}\n`).join(''),
  'lines of JSON with CRLF and without a last end': json.join('\r\n'),
  'lines of JSON with broken ones between them': json.map((line) => `${line}\n{"broken\n\n`).join('')
}

for (const [what, wire] of Object.entries(wires)) {
  t.test(`${what} are read as chunks, cut anywhere`, (t) => {
    t.same(readChunks([wire]), ended)
    t.same(readChunks(Array.from(wire)), ended)
    fc.assert(fc.property(fc.array(fc.nat()), (cuts) => {
      const bytes = Buffer.from(wire)
      const ends = [...cuts.map((cut) => cut % (bytes.length + 1)), bytes.length].sort((a, b) => a - b)
      assert.deepEqual(readChunks(ends.map((end, index) => bytes.subarray(ends[index - 1] ?? 0, end))), ended)
    }))
    t.end()
  })
}

t.test('an error among the events, and one instead of them, makes the job fail', (t) => {
  const error = 'data: {"error":{"message":"Overloaded","type":"overloaded_error"}}\n\n'
  t.match(readChunks([wires['server-sent events']! + error]), { status: 'error', type: 'overloaded_error', text: ended.text })
  t.match(readChunks([error]), { status: 'error', type: 'overloaded_error', text: '' })
  t.match(readChunks(['{"error":{"message":"Overloaded","type":"overloaded_error"}}\n']), { status: 'error', type: 'overloaded_error', text: '' })
  t.end()
})

const texts: Record<string, string> = {
  'a text that speaks of data': 'data: 5 apples, 3 pears\n\ndata: none',
  'a text in the form of an event': 'event: party on Friday\n\ndata: soon',
  'only the beginning of an event': 'data: {"choices":[',
  'an event that holds no object': 'data: [1, 2\n\n',
  'a text of blank lines first': '\n\nHello',
  'blank lines only': '\n',
  'a field alone': 'retry: soon',
  'JSON that a model writes': '{"name": "Ada", "id": 7}',
  'JSON in one line, with a known key first': '{"type":"circle","radius":1}',
  'lines of JSON that no protocol knows': '{"type":"circle"}\n{"type":"square"}\n',
  'JSON over several lines': '{\n  "type": "circle"\n}\n',
  'a line of JSON that is broken': '{"type":"circle"\n}',
  'JSON that is one value': '{"id":1}',
  'JSON of a model that speaks of an error': '{"type":"result","error":{"message":"no such city"}}\n',
  'blank lines after JSON that could be an event': '{"type":"start"}\n\n'
}
for (const [what, text] of Object.entries(texts)) {
  t.test(`${what} is text`, (t) => {
    t.same(readChunks([text]), { status: 'complete', text })
    t.same(readChunks(Array.from(text)), { status: 'complete', text })
    t.same(readChunks([...Buffer.from(text)].map((byte) => Uint8Array.of(byte))), { status: 'complete', text })
    t.end()
  })
}

t.test('a text is held back only while it could be a wire format', (t) => {
  const delivered = (pieces: readonly string[]): string[] => readChunks.pieces(pieces)
  t.same(delivered(['Hello', ' world']), ['Hello', ' world', ''])
  t.same(delivered(['d', 'at', 'e']), ['', '', 'date', ''])
  t.same(delivered(['{"na', 'me":1']), ['{"na', 'me":1', ''])
  t.same(delivered(['{"type":"a', 'b"}']), ['', '', '{"type":"ab"}'])
  t.end()
})

t.test('a first line without an end is held back for 64 Ki units at most', (t) => {
  const pieces = ['{"type":"', 'x'.repeat(64 * 1024), 'y']
  t.same(readChunks.pieces(pieces), ['', pieces[0]! + pieces[1]!, 'y', ''])
  t.end()
})

t.test('an object after held back text delivers that first', (t) => {
  t.same(readChunks(['data: ', chunks[2]]), { ...ended, text: 'data: data: 👋' })
  t.end()
})

t.test('a provider\'s error is a failure, also where its line has no end', (t) => {
  for (const body of ['{"error":{"message":"Overloaded","type":"overloaded_error"}}', '{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"},"request_id":"r"}']) {
    for (const wire of [body, `data: ${body}`, `\ufeffdata: ${body}\n`, `event: error\r\ndata: ${body}\r`]) {
      t.match(readChunks([wire]), { status: 'error', type: 'overloaded_error', text: '' }, wire)
      t.match(readChunks(Array.from(wire)), { status: 'error', type: 'overloaded_error', text: '' }, 'each character alone')
    }
  }
  t.end()
})

t.test('a first event may be large, as the one that repeats the instructions of OpenAI\'s responses', (t) => {
  const created = JSON.stringify({ type: 'response.created', response: { instructions: 'x'.repeat(200_000) } })
  const wire = `event: response.created\ndata: ${created}\n\ndata: {"type":"response.output_text.delta","item_id":"m","delta":"Hé"}\n\n`
  const pieces = Array.from({ length: Math.ceil(wire.length / 1000) }, (_, at) => wire.slice(at * 1000, at * 1000 + 1000))
  t.match(readChunks(pieces), { text: 'Hé', type: 'incomplete' })
  t.equal(readChunks([`data: {"${'x'.repeat(1024 * 1024)}`]).text.length, 1024 * 1024 + 8, 'what is larger is text')
  t.end()
})

t.test('the format is found out in linear time, and so are lines', (t) => {
  const texts = [`{"type":"${'x'.repeat(60_000)}`, `data: {"${'x'.repeat(500_000)}`, `data: [${'\ndata:'.repeat(100_000)}`, `event: ${'x'.repeat(500_000)}`]
  for (const text of texts) t.equal(readChunks(text.match(/.{1,4}|\n/gs)!).text, text)
  const [first, second] = [chunks[0], { choices: [{ index: 0, delta: { content: 'x'.repeat(4_000_000) } }] }].map((chunk) => `data: ${JSON.stringify(chunk)}\n\n`)
  t.equal(readChunks([first, ...second!.match(/.{1,100}|\n/gs)!]).text.length, 4_000_000)
  t.end()
})

t.test('an event that never ends is an error, before it takes all of the memory', (t) => {
  const wire = wires['server-sent events']!
  const piece = 'x'.repeat(16 * 1024 * 1024)
  t.throws(() => readChunks([wire, 'data: ', piece, piece, piece, piece]), { name: 'RangeError', message: /longer than 67108864/ })
  t.throws(() => readChunks([wire, ...Array.from({ length: 5 }, () => `data: ${piece}\n`)]), RangeError)
  t.equal(readChunks([wire, ...Array.from({ length: 5 }, () => `: ${piece}\n`), wire]).text, ended.text + ended.text)
  t.end()
})
