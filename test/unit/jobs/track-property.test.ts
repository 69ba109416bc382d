import assert from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import { track } from '../../../lib/jobs/track.js'
import { FakeClock } from '../../support/fake-clock.js'
import { fakeReporter } from '../../support/fake-reporter.js'

/** The chunks of a text, split anywhere, even inside a surrogate pair or the bytes of a character. */
const shapes = {
  strings: (text: string, cuts: readonly number[]) => cut(text, cuts),
  bytes: (text: string, cuts: readonly number[]) => cut(Buffer.from(text), cuts),
  objects: (text: string, cuts: readonly number[]) => cut(text, cuts).map((content) => ({ choices: [{ delta: { content } }] }))
}

function cut<T extends { length: number, slice (from: number, to: number): T }> (whole: T, cuts: readonly number[]): T[] {
  const ends = [...cuts.map((each) => each % (whole.length + 1)), whole.length].sort((a, b) => a - b)
  return ends.map((end, index) => whole.slice(ends[index - 1] ?? 0, end))
}

const endings = ['end', 'throw', 'cancel', 'leave'] as const

for (const [shape, chunksOf] of Object.entries(shapes)) {
  t.test(`every subscriber's text is the producer's, and the job ends once: ${shape}`, async () => {
    const run = fc.record({
      text: fc.string({ unit: 'binary' }),
      cuts: fc.array(fc.nat(), { maxLength: 20 }),
      waits: fc.array(fc.nat(150)),
      throttleMs: fc.constantFrom(0, 100, Infinity),
      ending: fc.constantFrom(...endings)
    })
    await fc.assert(fc.asyncProperty(run, async ({ text, cuts, waits, throttleMs, ending }) => {
      const clock = new FakeClock()
      const reporter = fakeReporter()
      const given = chunksOf(text, cuts)
      const source = async function* () {
        yield* given
        if (ending === 'throw') throw new Error('broken')
      }
      const tracked = track(reporter, {}, source(), { text: true, throttleMs }, clock)
      const read: unknown[] = []
      try {
        for await (const chunk of tracked) {
          read.push(chunk)
          clock.advance(waits[read.length] ?? 0)
          if (ending === 'cancel' && read.length === given.length) reporter.cancel()
          if (ending === 'leave' && read.length === given.length) break
        }
        assert(ending === 'end' || ending === 'leave')
      } catch {
        assert(ending === 'throw' || ending === 'cancel')
      }
      assert.deepEqual(read, given)
      assert.equal(reporter.text, text)
      assert.equal(reporter.progresses.at(-1)?.contentLength, text.length)
      assert.equal(reporter.progresses.at(-1)?.chunksReceived, given.length)
      assert(!reporter.progresses.some(({ delta = '' }) => /[\ud800-\udbff]$/.test(delta)), 'a delta ends in half a pair')
      assert.equal(reporter.ends.length, 1)
      assert.equal(reporter.reports.at(-1), reporter.ends[0])
      assert.equal(reporter.ends[0]?.[0], ending === 'end' ? 'complete' : 'error')
      assert.equal(clock.pending, 0)
    }))
  })
}
