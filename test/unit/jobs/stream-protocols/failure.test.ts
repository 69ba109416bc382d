import t from 'tap'
import { failureOf } from '../../../../lib/jobs/stream-protocols/failure.js'

t.test('an event whose type says error is a failure, whatever else it has', (t) => {
  const unknown = { message: 'unknown error', type: 'internal_error', retryable: true }
  for (const type of ['error', 'RUN_ERROR', 'message.error', 'stream-error']) t.same(failureOf({ type }), unknown, type)
  t.same(failureOf({ type: 'error', error: null }), unknown)
  t.same(failureOf({ type: 'error', error: 'quota exceeded' }), { ...unknown, message: 'quota exceeded' })
  t.same(failureOf({ type: 'error', errorText: 'An error occurred.' }), { ...unknown, message: 'An error occurred.' })
  t.same(failureOf({ type: 'error', error: { type: 'overloaded_error', message: 'Overloaded' } }), { message: 'Overloaded', type: 'overloaded_error', retryable: true })
  t.same(failureOf({ type: 'error', code: 'rate_limit_exceeded', message: 'Too many requests', param: null }), {
    message: 'Too many requests', type: 'rate_limit_error', retryable: true
  })
  t.end()
})

t.test('an error that a chunk holds is reported as it is', (t) => {
  const error = Object.assign(new Error('Too many requests'), { statusCode: 429 })
  t.equal(failureOf({ type: 'error', error }), error)
  t.end()
})

t.test('a provider\'s error body is a failure', (t) => {
  t.same(failureOf({ error: { code: 502, message: 'Bad gateway' } }), { message: 'Bad gateway', type: 'api_error', retryable: true })
  t.same(failureOf({ error: 'model not found' }), { message: 'model not found', type: 'internal_error', retryable: true })
  t.end()
})

t.test('other chunks are no failure, among them those of a tool that failed', (t) => {
  const others = [{}, { type: 'tool-error-handled' }, { type: 'terror' }, { type: 'result', error: 'a' }, { type: 7, error: 'a' }, { error: null }, { error: '' }, { error: 0 }]
  for (const chunk of others) t.equal(failureOf(chunk), undefined, JSON.stringify(chunk))
  t.end()
})
