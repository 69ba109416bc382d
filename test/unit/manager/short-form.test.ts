import fc from 'fast-check'
import { Value } from '@sinclair/typebox/value'
import t from 'tap'
import { AICompleted, AIFailed, AIProgressed, AIStarted } from '../../../lib/protocol/messages.js'
import { insertText, type ReportHead } from '../../../lib/protocol/json.js'
import { shortFormOf } from '../../../lib/manager/short-form.js'

const timestamp = '2024-01-01T00:00:00.000Z'
const long = 'x'.repeat(1_000)

function shortForm (type: ReportHead['type'], part: Parameters<typeof shortFormOf>[1], value: object, sessionId = 's'): Record<string, any> {
  return JSON.parse(shortFormOf({ type, sessionId, timestamp }, part, value)) as Record<string, any>
}

t.test('a short form has the small fields, the documented ones first', (t) => {
  const result = { content: long, usage: { tokens: 1 }, list: [1], done: true, none: null, at: new Date(0), note: 'short', missing: undefined, chunks: 3, mode: 'generate' }
  t.strictSame(shortForm('ai_complete', 'result', result), {
    type: 'ai_complete',
    sessionId: 's',
    result: { mode: 'generate', chunks: 3, done: true, none: null, at: '1970-01-01T00:00:00.000Z', note: 'short' },
    timestamp,
    truncated: true
  })
  t.strictSame(shortForm('ai_start', 'task', { prompt: long, mode: 'edit' }).task, { mode: 'edit' })
  t.end()
})

t.test('an error always has its message and its type, cut if they are long, between characters', (t) => {
  const { error } = shortForm('ai_error', 'error', { message: 'x'.repeat(255) + '💡' + long, type: long, stack: long })
  t.strictSame(error, { message: 'x'.repeat(255), type: 'x'.repeat(256) })
  t.end()
})

t.test('text can be inserted into the short form of a progress', (t) => {
  for (const progress of [{ chunksReceived: 2, log: long }, { log: long }]) {
    const body = shortFormOf({ type: 'ai_progress', sessionId: 's', timestamp }, 'progress', progress)
    t.match(JSON.parse(insertText(body, { text: 'text', offset: 3, truncated: false })), { progress: { delta: 'text', offset: 3 }, truncated: true })
  }
  t.end()
})

t.test('unreadable fields are left out', (t) => {
  const result = {
    get bad () { throw new Error('no') },
    at: Object.assign(new Date(0), { toJSON: () => { throw new Error('no') } }),
    big: 1n,
    chunks: 1
  }
  t.strictSame(shortForm('ai_complete', 'result', result as object).result, { chunks: 1 })
  const { proxy, revoke } = Proxy.revocable({}, {})
  revoke()
  t.strictSame(shortForm('ai_complete', 'result', proxy).result, {})
  t.end()
})

t.test('a short form of any report is small, valid, and marked as truncated', (t) => {
  const schemas = { ai_start: ['task', AIStarted], ai_progress: ['progress', AIProgressed], ai_complete: ['result', AICompleted], ai_error: ['error', AIFailed] } as const
  const type = fc.constantFrom(...Object.keys(schemas) as Array<keyof typeof schemas>)
  const value = fc.dictionary(fc.string({ maxLength: 400 }), fc.oneof(fc.string({ unit: 'binary', maxLength: 600 }), fc.double(), fc.boolean(), fc.constant(null)), { maxKeys: 60, size: 'max' })
  fc.assert(fc.property(type, value, fc.string({ minLength: 1, maxLength: 200 }), (type, fields, sessionId) => {
    const [part, schema] = schemas[type]
    const { chunks: _1, mode: _2, prompt: _3, targetFile: _4, ...others } = fields
    const whole = type === 'ai_error' ? { message: 'no', ...others, ...(typeof others.message !== 'string' && { message: 'no' }), type: 'api_error' } : others
    const written = shortForm(type, part, whole, sessionId)
    const kept = written[part] as Record<string, unknown>
    return written.truncated === true && JSON.stringify(kept).length <= 2_300 && written.sessionId === sessionId &&
      Object.keys(kept).every((name) => Object.hasOwn(whole, name)) &&
      (!/^[ -~]+$/.test(sessionId) || ['chunksReceived', 'contentLength', 'delta', 'offset', 'truncated'].some((name) => name in others) || Value.Check(schema, written))
  }), { numRuns: 300 })
  t.end()
})
