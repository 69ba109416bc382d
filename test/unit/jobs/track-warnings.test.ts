import t from 'tap'
import { track, type TrackOptions } from '../../../lib/jobs/track.js'
import { FakeClock } from '../../support/fake-clock.js'
import { fakeReporter, type FakeReporter } from '../../support/fake-reporter.js'

/** The warnings of a job with these chunks. */
async function warningsOf<T> (chunks: Iterable<T>, options: TrackOptions<T> = { text: true }): Promise<FakeReporter['warnings']> {
  const reporter = fakeReporter()
  const tracked = track(reporter, {}, chunks, options, new FakeClock())
  while ((await tracked.next()).done !== true);
  t.equal(reporter.ends.length, 1)
  return reporter.warnings
}

t.test('a stream of unknown chunks causes one warning, with the keys of the first chunk', async (t) => {
  const warnings = await warningsOf([{ token: 'a', index: 0 }, { token: 'b', index: 1 }, { token: 'c', index: 2 }])
  t.match(warnings, [{ message: /"text" to a function that returns the text/, keysOfFirstChunk: ['token', 'index'] }])
  t.equal(warnings.length, 1)
})

t.test('there is no warning without the option text, or with a function', async (t) => {
  t.same(await warningsOf([{ token: 'a' }], {}), [])
  t.same(await warningsOf([{ token: 'a' }], { text: () => '' }), [])
  t.same(await warningsOf([], { text: false }), [])
})

t.test('an empty stream of text causes a warning, because the AI SDK\'s textStream ends so when the model fails', async (t) => {
  t.match(await warningsOf([]), [{ message: /pass the result of streamText instead/ }])
  t.match(await warningsOf(['']), [{ message: /pass the result of streamText instead/ }])
})

t.test('a model that returns no text, or a tool call, causes no warning', async (t) => {
  t.same(await warningsOf([{ choices: [{ index: 0, delta: {}, finish_reason: 'tool_calls' }] }]), [])
  t.same(await warningsOf([{ token: 'a' }, 'text']), [])
})
