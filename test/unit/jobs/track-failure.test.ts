import t from 'tap'
import { failureOf, reportable } from '../../../lib/jobs/track-failure.js'
import { readStream } from '../../fixtures/streams/read.js'

const told = [
  ['openai-responses-failed', { message: 'The model failed to answer', type: 'api_error', retryable: true }],
  ['openai-responses-error', { message: 'Rate limit reached', type: 'rate_limit_error', retryable: true }],
  ['anthropic-error', { message: 'Overloaded', type: 'overloaded_error', retryable: true }],
  ['ai-sdk-5-error', { message: 'Overloaded', type: 'overloaded_error', retryable: true }],
  ['ai-sdk-5-ui-error', { message: 'An error occurred.', type: 'internal_error', retryable: true }],
  ['ai-sdk-5-abort', { message: 'cancelled', type: 'cancelled' }]
] as const
for (const [name, failure] of told) {
  const { about, chunks } = readStream(name)
  t.test(`the failure is known, and nothing else taken for one, in ${about}`, (t) => {
    t.same(chunks.map(failureOf).filter((found) => found !== undefined), [failure])
    t.end()
  })
}

const well = ['openai-chat', 'openai-compatible', 'openai-responses', 'anthropic-messages', 'ai-sdk-4', 'ai-sdk-5', 'ai-sdk-5-ui']
for (const name of well) {
  const { about, chunks } = readStream(name)
  t.test(`no failure is seen in ${about}`, (t) => {
    t.same(chunks.map(failureOf).filter((found) => found !== undefined), [])
    t.end()
  })
}

t.test('an error that a chunk holds is told as it is', (t) => {
  const error = Object.assign(new Error('Too many requests'), { statusCode: 429 })
  t.equal(failureOf({ type: 'error', error }), error)
  t.same(failureOf({ type: 'error', error: 'quota exceeded' }), { message: 'quota exceeded', type: 'internal_error', retryable: true })
  t.end()
})

t.test('a chunk that tells nothing of a failure is none', (t) => {
  for (const chunk of ['error', null, undefined, 7, {}, { type: 'error' }, { type: 'error', error: null }]) t.equal(failureOf(chunk), undefined)
  t.end()
})

t.test('a failure without a reason is one', (t) => {
  t.same(failureOf({ type: 'response.failed', response: { error: null } }), { message: 'unknown error', type: 'internal_error', retryable: true })
  t.end()
})

t.test('of something thrown that is no error only message and type are reported', (t) => {
  t.same(reportable({ message: 'full', type: 'quota', headers: { authorization: 'secret' } }), { message: 'full', type: 'quota' })
  t.same(reportable({ message: 'full', code: 'ENOSPC' }), { message: 'full', type: 'ENOSPC' })
  t.same(reportable('broken'), { message: 'broken', type: 'internal_error', retryable: true })
  t.same(reportable(undefined), { message: 'unknown error', type: 'internal_error', retryable: true })
  t.end()
})
