import t from 'tap'
import { StreamReport } from '../../../../lib/jobs/streams/report.js'

const reasons = { stop: 'stop', max: 'length', broken: 'error', stopped: 'cancelled' } as const

t.test('nothing is in the result that was not reported', (t) => {
  const report = new StreamReport()
  t.same(report.result, {})
  report.setUsage({ input: null, output: 'many', total: NaN })
  report.setUsage({ input: -1, output: Infinity })
  report.finish('', reasons)
  report.finish(null, reasons)
  report.finish(7, reasons)
  t.same(report.result, {})
  t.end()
})

t.test('a finish reason is one of the common ones, with the provider\'s own; the last one counts', (t) => {
  const report = new StreamReport()
  report.finish('max', reasons)
  t.same(report.result, { finishReason: 'length', rawFinishReason: 'max' })
  report.finish('toString', reasons)
  t.same(report.result, { finishReason: 'unknown', rawFinishReason: 'toString' })
  t.end()
})

t.test('a finish reason that means a failure is one', (t) => {
  const failed = new StreamReport()
  failed.finish('broken', reasons)
  t.match(failed.failure, { message: 'the model\'s provider ended the stream with "broken"', type: 'api_error' })
  const told = new StreamReport()
  told.finish('broken', reasons, { message: 'Out of memory' })
  t.match(told.failure, { message: 'Out of memory' })
  const stopped = new StreamReport()
  stopped.finish('stopped', reasons)
  t.match(stopped.failure, { type: 'cancelled' })
  t.end()
})

t.test('the first failure counts', (t) => {
  const report = new StreamReport()
  report.fail('first')
  report.fail('second')
  report.cancel()
  t.match(report.failure, { message: 'first' })
  t.end()
})

t.test('a refusal replaces the reason of an ordinary end only', (t) => {
  const report = new StreamReport()
  report.refuse()
  t.same(report.result, { finishReason: 'refusal' })
  report.finish('stop', reasons)
  t.same(report.result, { finishReason: 'refusal', rawFinishReason: 'stop' })
  report.finish('max', reasons)
  t.same(report.result, { finishReason: 'length', rawFinishReason: 'max' })
  t.end()
})

t.test('usage is replaced, or added up over several calls of a model', (t) => {
  const report = new StreamReport()
  report.setUsage({ input: 10 })
  report.setUsage({ input: 12, output: 3 })
  t.same(report.result.usage, { inputTokens: 12, outputTokens: 3 })
  report.addUsage({ input: 8, output: 2, total: 10 })
  report.addUsage({ output: 1, total: null })
  t.same(report.result.usage, { inputTokens: 20, outputTokens: 6, totalTokens: 10 })
  const first = new StreamReport()
  first.addUsage({ input: 1 })
  t.same(first.result.usage, { inputTokens: 1 })
  t.end()
})

t.test('a stream without its last event is incomplete, or ended for an unknown reason', (t) => {
  const cut = new StreamReport()
  cut.end({ missingEnd: 'incomplete' })
  t.match(cut.failure, { type: 'incomplete' })
  const whole = new StreamReport()
  whole.complete()
  whole.end({ missingEnd: 'incomplete' })
  t.equal(whole.failure, undefined)
  t.same(whole.result, { finishReason: 'unknown' })
  const lenient = new StreamReport()
  lenient.end({ missingEnd: 'unknown' })
  t.same([lenient.failure, lenient.result], [undefined, { finishReason: 'unknown' }])
  t.end()
})
