import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import fc from 'fast-check'
import t from 'tap'
import { fieldsOf } from '../../../../lib/jobs/stream-protocols/protocol.js'
import { protocols } from '../../../../lib/jobs/stream-protocols/protocols.js'
import { track } from '../../../../lib/jobs/track.js'
import { describeError } from '../../../../lib/jobs/ai-error.js'
import type { AIErrorInfo } from '../../../../lib/protocol/messages.js'
import { FakeClock } from '../../../support/fake-clock.js'
import { fakeReporter } from '../../../support/fake-reporter.js'
import { readChunks } from '../../../support/streams.js'

const folder = new URL('../../../fixtures/streams/', import.meta.url)

/** Every recorded stream: of a fixture with scenarios each of them, of an older one its chunks. */
const streams = readdirSync(folder).filter((name) => name.endsWith('.json')).flatMap((file) => {
  const fixture = JSON.parse(readFileSync(new URL(file, folder), 'utf8')) as Record<string, unknown>
  return Object.entries(fixture).filter((entry): entry is [string, unknown[]] => Array.isArray(entry[1]))
    .map(([scenario, chunks]) => ({ file, scenario, chunks }))
})

/** The protocol that reads a stream: that of the first chunk which one recognises. */
function protocolOf (chunks: readonly unknown[]): string | undefined {
  for (const chunk of chunks) {
    const found = protocols.find((protocol) => typeof chunk === 'object' && protocol.recognises(fieldsOf(chunk)))
    if (found !== undefined) return found.name
  }
  return undefined
}

t.test('names are unique, and a protocol recognises no garbage', (t) => {
  t.equal(new Set(protocols.map(({ name }) => name)).size, protocols.length)
  const garbage = [{}, [], [null], [[], {}], { type: null }, { type: 7 }, { type: {} }, { choices: 7 }, { data: null }, { event: 7 }, { message: null }, { 0: null }, { payload: 7 }]
  for (const protocol of protocols) {
    for (const chunk of garbage) t.equal(protocol.recognises(fieldsOf(chunk)), false, `${protocol.name}: ${JSON.stringify(chunk)}`)
  }
  t.end()
})

t.test('a stream is read by one protocol, wherever its reader begins', (t) => {
  for (const { file, scenario, chunks } of streams) {
    const whole = protocolOf(chunks)
    for (const from of chunks.keys()) {
      const rest = protocolOf(chunks.slice(from))
      if (rest !== undefined) t.equal(rest, whole, `${file}, ${scenario}, from chunk ${from}`)
    }
  }
  t.end()
})

t.test('no field of a recorded chunk can be missing, null or of another type so that reading it throws', (t) => {
  for (const { file, scenario, chunks } of streams) {
    for (const chunk of chunks) {
      for (const broken of brokenCopies(chunk)) {
        try {
          readChunks([chunk, broken, chunk])
        } catch (error) {
          t.fail(`${file}, ${scenario}: ${String(error)} for ${JSON.stringify(broken)}`)
        }
      }
    }
  }
  t.ok(streams.length > 0)
  t.end()
})

/** Copies of a value in which one of its fields, at any depth, is something else. */
function brokenCopies (value: unknown): unknown[] {
  if (typeof value !== 'object' || value === null) return [null, 7, '', 'strange', true, [], {}, [null], undefined].filter((each) => each !== value)
  const entries = Array.isArray(value) ? [...value.entries()] : Object.entries(value)
  return entries.flatMap(([key, inner]) => brokenCopies(inner).concat([null]).map((broken) => {
    const copy = structuredClone(value) as Record<string | number, unknown>
    copy[key] = broken
    return copy
  }))
}

t.test('text and end are the same, however a stream\'s chunks are split in time', async () => {
  const run = fc.record({ stream: fc.constantFrom(...streams), waits: fc.array(fc.nat(150)), throttleMs: fc.constantFrom(0, 100, Infinity) })
  await fc.assert(fc.asyncProperty(run, async ({ stream: { chunks }, waits, throttleMs }) => {
    const { status, text, ...expected } = readChunks(chunks)
    const clock = new FakeClock()
    const reporter = fakeReporter()
    let at = 0
    const tracked = track(reporter, {}, chunks, { text: true, throttleMs }, clock)
    while ((await tracked.next()).done !== true) clock.advance(waits[at++] ?? 0)
    assert.equal(reporter.text, text)
    assert.equal(reporter.ends.length, 1)
    const [[kind, end]] = reporter.ends as [[string, AIErrorInfo]]
    assert.equal(kind, status)
    const told = status === 'error' ? describeError(end) : { ...end, contentLength: undefined, chunks: undefined }
    assert.deepEqual(JSON.parse(JSON.stringify(told)), expected)
  }), { numRuns: 300 })
})
