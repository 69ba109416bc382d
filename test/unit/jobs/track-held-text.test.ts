import t from 'tap'
import { track } from '../../../lib/jobs/track.js'
import { FakeClock } from '../../support/fake-clock.js'
import { fakeReporter, type FakeReporter } from '../../support/fake-reporter.js'

// While the first text may be the beginning of a wire format, it is held back. A stream that ends early must not lose it.

/** The ways in which a stream ends early, after its chunks were read. */
const endings = {
  'it fails': (_reporter: FakeReporter, reader: AsyncIterator<unknown>) => reader.next().catch(() => undefined),
  'it is cancelled': (reporter: FakeReporter) => { reporter.cancel() },
  'its reader leaves': (_reporter: FakeReporter, reader: AsyncIterator<unknown>) => reader.return?.()
}

async function textOf (chunks: ReadonlyArray<string | Uint8Array>, end: (reporter: FakeReporter, reader: AsyncIterator<unknown>) => unknown): Promise<FakeReporter> {
  const reporter = fakeReporter()
  const source = async function* (): AsyncGenerator<string | Uint8Array> {
    yield* chunks
    throw new Error('the socket was cut')
  }
  const reader = track(reporter, {}, source(), { text: true }, new FakeClock())
  for (const chunk of chunks) t.same((await reader.next()).value, chunk)
  await end(reporter, reader)
  return reporter
}

const event = 'data: {"choices":[{"index":0,"delta":{"content":"Once"}}]}'
const bytes = (text: string): Uint8Array => Buffer.from(text)

for (const [how, end] of Object.entries(endings)) {
  t.test(`text that was held back is sent when ${how}`, async (t) => {
    for (const chunks of [['d'], ['da', 'ta'], [bytes('d')], ['{"type"'], ['\ufeff'], ['\ufeffd']]) {
      const { text, progresses, ends } = await textOf(chunks, end)
      const expected = chunks.map((chunk) => Buffer.from(chunk as string).toString()).join('')
      t.equal(text, expected, JSON.stringify(expected))
      t.match(progresses.at(-1), { chunksReceived: chunks.length, contentLength: expected.length })
      t.equal(ends.length, 1)
      t.equal(ends[0]![0], 'error')
    }
  })

  t.test(`an event without its line end is read when ${how}`, async (t) => {
    t.equal((await textOf([event], end)).text, 'Once')
    t.equal((await textOf([`${event}\n\n`, event], end)).text, 'OnceOnce')
    t.equal((await textOf([`${event}\n\n`, event.slice(0, -4)], end)).text, 'Once', 'but no half of it')
  })

  t.test(`half a character is not sent when ${how}`, async (t) => {
    t.equal((await textOf([bytes('é').subarray(0, 1)], end)).text, '')
    t.equal((await textOf([bytes('Café').subarray(0, 4)], end)).text, 'Caf')
  })
}

t.test('an event that is cut off is no reason to name another error', async (t) => {
  t.match((await textOf([event], endings['it is cancelled'])).ends, [['error', { type: 'cancelled' }]])
})

t.test('a failure in an event without its line end is the reason for the end', async (t) => {
  const failure = 'data: {"error":{"message":"The model is overloaded","type":"overloaded_error"}}'
  t.match((await textOf([`${event}\n\n`, failure], endings['it fails'])).ends, [['error', { message: 'The model is overloaded' }]])
})
