import fc from 'fast-check'
import t from 'tap'
import { addFields, batchBody, insertText, jsonField, progressBody, shortBody } from '../../../lib/protocol/json.js'

const timestamp = '2024-01-01T00:00:00.000Z'
const head = { type: 'ai_progress', sessionId: 's "1"', timestamp } as const
const none = { text: '', offset: 0, truncated: false }

t.test('a progress ends with its object and its timestamp', (t) => {
  const body = progressBody('s "1"', timestamp, '{"chunksReceived":1}')
  t.strictSame(JSON.parse(body), { ...head, progress: { chunksReceived: 1 } })
  t.ok(body.endsWith(`"progress":{"chunksReceived":1},"timestamp":"${timestamp}"}`))
  t.end()
})

t.test('the short form of a progress takes text, too', (t) => {
  const body = shortBody(head, 'progress', [jsonField('a "b"', null), jsonField('chunksReceived', 1)])
  t.strictSame(JSON.parse(body), { ...head, truncated: true, progress: { 'a "b"': null, chunksReceived: 1 } })
  t.match((JSON.parse(insertText(body, none)) as { progress: object }).progress, { chunksReceived: 1, delta: '' })
  t.end()
})

t.test('text is inserted into the object, whatever else it contains', (t) => {
  fc.assert(fc.property(fc.dictionary(fc.string(), fc.jsonValue()), fc.string({ unit: 'binary' }), fc.nat(), fc.boolean(), (others, text, offset, truncated) => {
    const { delta: _1, offset: _2, truncated: _3, ...fields } = others
    const written = JSON.stringify(fields)
    const expected = { ...JSON.parse(written) as object, delta: text, offset, ...(truncated && { truncated }) }
    const body = insertText(progressBody('s', timestamp, written), { text, offset, truncated })
    t.strictSame((JSON.parse(body) as { progress: object }).progress, expected)
  }))
  t.end()
})

t.test('a field that ends with braces is not taken for an empty progress', (t) => {
  for (const fields of [{ empty: {} }, { nested: { empty: {} } }, { text: '{' }, { list: [{}] }]) {
    const body = insertText(progressBody('s', timestamp, JSON.stringify(fields)), none)
    t.strictSame((JSON.parse(body) as { progress: object }).progress, { ...fields, delta: '', offset: 0 })
  }
  t.end()
})

t.test('a batch contains its messages as they are', (t) => {
  t.equal(batchBody('s "1"', ['{"a":1}', '{"b":2}'], timestamp), `{"type":"batch_update","sessionId":"s \\"1\\"","messages":[{"a":1},{"b":2}],"timestamp":"${timestamp}"}`)
  t.end()
})

t.test('the fields that a broker decides come last', (t) => {
  const body = '{"type":"x","text":"}"}'
  t.equal(addFields(body, {}, false), body)
  t.equal(addFields(body, { seq: 7 }, false), '{"type":"x","text":"}","seq":7}')
  t.equal(addFields(body, { seq: 7 }, true), '{"type":"x","text":"}","userSeq":7}')
  t.equal(addFields(body, { jobId: 'a "b"' }, false), '{"type":"x","text":"}","jobId":"a \\"b\\""}')
  t.equal(addFields(body, { jobId: 'j', supersedes: true, seq: 7 }, false, 'missed'), '{"type":"x","text":"}","jobId":"j","supersedes":true,"seq":7,"replayed":"missed"}')
  t.equal(addFields(body, {}, false, 'snapshot'), '{"type":"x","text":"}","replayed":"snapshot"}')
  t.end()
})
