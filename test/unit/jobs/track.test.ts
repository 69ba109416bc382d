import assert from 'node:assert/strict'
import { Readable } from 'node:stream'
import { setImmediate as turn } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { track, type TrackOptions } from '../../../lib/jobs/track.js'
import type { AISource } from '../../../lib/jobs/track-source.js'
import { FakeClock } from '../../support/fake-clock.js'
import { fakeReporter } from '../../support/fake-reporter.js'

const task = { prompt: 'Create a React component', mode: 'generate', targetFile: 'src/Component.tsx' }

/** A tracked job. Checks after the test that it has one end and no timer. */
function start<T> (t: Test, source: AISource<T> | PromiseLike<AISource<T>>, options: TrackOptions<T> = {}) {
  const clock = new FakeClock()
  const reporter = fakeReporter()
  const chunks = track(reporter, task, source, options, clock)
  t.teardown(() => {
    assert.equal(reporter.ends.length, 1, 'one end')
    assert.equal(reporter.reports.at(-1), reporter.ends[0], 'nothing after it')
    assert.equal(clock.pending, 0, 'no timer')
  })
  return { clock, reporter, chunks }
}

/** A source whose chunks the test controls. It records the calls. */
function handSource () {
  const asked: string[] = []
  let answer: { resolve: (result: IteratorResult<string>) => void, reject: (error: unknown) => void } | undefined
  const source: AsyncIterableIterator<string> = {
    next: () => {
      asked.push('next')
      return new Promise((resolve, reject) => { answer = { resolve, reject } })
    },
    return: () => {
      asked.push('return')
      return Promise.resolve({ done: true, value: undefined })
    },
    [Symbol.asyncIterator]: () => source
  }
  return {
    source,
    asked,
    give: (value: string) => { answer?.resolve({ done: false, value }) },
    finish: () => { answer?.resolve({ done: true, value: undefined }) },
    fail: (error: unknown) => { answer?.reject(error) }
  }
}

/** Fails on unhandled rejections. */
function watchRejections (t: Test): void {
  const unhandled: unknown[] = []
  const note = (reason: unknown): void => { unhandled.push(reason) }
  process.on('unhandledRejection', note)
  t.teardown(async () => {
    await turn()
    process.off('unhandledRejection', note)
    assert.deepEqual(unhandled, [])
  })
}

async function readAll<T> (chunks: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = []
  for await (const chunk of chunks) all.push(chunk)
  return all
}

const DONE = { done: true, value: undefined }
const cancelled = (message: string) => ['error', { message, type: 'cancelled' }]

t.test('chunks pass through unchanged, and the job ends with the documented result', async (t) => {
  const given = [{ a: 1 }, Buffer.from('a'), 'é', undefined]
  const { reporter, chunks } = start(t, given)
  const read = await readAll(chunks)
  t.ok(read.length === 4 && read.every((chunk, index) => chunk === given[index]))
  t.same(reporter.ends, [['complete', { mode: 'generate', contentLength: 2, chunks: 4, targetFile: 'src/Component.tsx' }]])
  t.same(reporter.progresses, [{ chunksReceived: 1, contentLength: 0 }, { chunksReceived: 4, contentLength: 2 }])
})

t.test('fields absent from the task are absent from the result', async (t) => {
  const reporter = fakeReporter()
  await readAll(track(reporter, { prompt: 'x' }, [], {}, new FakeClock()))
  t.same(reporter.reports, [['complete', { contentLength: 0, chunks: 0 }]])
})

t.test('text: true sends the text as it grows', async (t) => {
  const hand = handSource()
  const { clock, reporter, chunks } = start(t, hand.source, { text: true })
  const all = readAll(chunks)
  for (const [text, wait] of [['Hé', 0], ['llo', 50], [' world', 60]] as const) {
    await turn()
    hand.give(text)
    await turn()
    clock.advance(wait)
  }
  hand.give('!')
  await turn()
  hand.finish()
  await all
  t.same(reporter.progresses, [
    { chunksReceived: 1, contentLength: 2, delta: 'Hé' },
    { chunksReceived: 3, contentLength: 11, delta: 'llo world' },
    { chunksReceived: 4, contentLength: 12, delta: '!' }
  ])
})

t.test('by default, progress is sent at most every 100 ms and at the end, and chunks are not delayed', async (t) => {
  const hand = handSource()
  const { clock, reporter, chunks } = start(t, hand.source)
  let passed = ''
  for (const chunk of 'abcdef') {
    const next = chunks.next()
    await turn()
    hand.give(chunk)
    // In the same turn.
    passed += String((await next).value)
    clock.advance(40)
  }
  t.equal(passed, 'abcdef')
  // At 0 ms, at 100 ms, and at 200 ms.
  t.same(reporter.progresses.map(({ chunksReceived }) => chunksReceived), [1, 3, 5])
  const end = chunks.next()
  await turn()
  hand.finish()
  await end
  t.equal(reporter.progresses.at(-1)!.chunksReceived, 6)
})

t.test('a function reads the text of chunks of any shape, and sends it', async (t) => {
  const { reporter, chunks } = start(t, [{ token: 'a' }, { token: 'é' }], { text: ({ token }) => token })
  await readAll(chunks)
  t.equal(reporter.text, 'aé')
  t.match(reporter.ends, [['complete', { contentLength: 2 }]])
})

t.test('sendText: false counts the text without sending it', async (t) => {
  const { reporter, chunks } = start(t, [{ token: 'a' }, { token: 'é' }], { text: ({ token }) => token, sendText: false })
  await readAll(chunks)
  t.equal(reporter.text, '')
  t.match(reporter.ends, [['complete', { contentLength: 2 }]])
})

t.test('half a character at the end of bytes is counted and sent', async (t) => {
  const { reporter, chunks } = start(t, [Buffer.from('a'), Uint8Array.of(0xc3)], { text: true })
  await readAll(chunks)
  t.equal(reporter.text, 'a\ufffd')
  t.match(reporter.ends, [['complete', { contentLength: 2 }]])
})

t.test('result gets the default result and returns the one to send', async (t) => {
  const { reporter, chunks } = start(t, ['a'], { result: (result) => ({ ...result, model: 'm' }) })
  await readAll(chunks)
  t.same(reporter.ends, [['complete', { mode: 'generate', contentLength: 1, chunks: 1, targetFile: 'src/Component.tsx', model: 'm' }]])
})

t.test('an error of result or text fails the job, is rethrown, and closes the source', async (t) => {
  const broken = new Error('broken')
  const fail = (): never => { throw broken }
  const first = start(t, ['a'], { result: fail })
  await t.rejects(readAll(first.chunks), broken)
  t.same(first.reporter.ends, [['error', broken]])

  const hand = handSource()
  const second = start(t, hand.source, { text: fail })
  const all = readAll(second.chunks)
  await turn()
  hand.give('a')
  await t.rejects(all, broken)
  t.same(second.reporter.reports, [['error', broken]])
  t.same(hand.asked, ['next', 'return'])
})

t.test('an async text or result function fails the job, and its rejection is handled', async (t) => {
  watchRejections(t)
  const rejects = (): never => Promise.reject(new Error('late')) as never
  for (const options of [{ text: rejects }, { result: rejects }]) {
    const { reporter, chunks } = start(t, ['a', 'b'], options)
    await t.rejects(readAll(chunks), { name: 'TypeError', message: /must not return a promise/ })
    t.match(reporter.ends, [['error', { message: /must not return a promise/ }]])
  }
})

t.test('chunks are read only on demand, never ahead', async (t) => {
  const hand = handSource()
  const { chunks } = start(t, hand.source)
  await turn()
  t.same(hand.asked, [])
  const first = chunks.next()
  await turn()
  hand.give('a')
  t.same(await first, { done: false, value: 'a' })
  await turn()
  t.same(hand.asked, ['next'])
  await chunks.return()
})

t.test('concurrent reads are answered in order, one at a time', async (t) => {
  const hand = handSource()
  const { chunks } = start(t, hand.source)
  const both = Promise.all([chunks.next(), chunks.next()])
  await turn()
  t.same(hand.asked, ['next'])
  hand.give('a')
  await turn()
  hand.give('b')
  t.same(await both, [{ done: false, value: 'a' }, { done: false, value: 'b' }])
  await chunks.return()
})

t.test('an error of the source is reported after the last progress, and rethrown unchanged', async (t) => {
  for (const thrown of [new Error('broken'), 'broken', { message: 'broken', type: 'internal_error', secret: 1 }]) {
    const source = function* () {
      yield 'a'
      yield 'b'
      throw thrown as Error
    }
    const { reporter, chunks } = start(t, source(), { text: true })
    t.equal(await readAll(chunks).catch((error: unknown) => error), thrown)
    t.equal(reporter.text, 'ab')
    t.same(reporter.ends, [['error', thrown instanceof Error ? thrown : { message: 'broken', type: 'internal_error', retryable: true }]])
    t.same(await chunks.next(), DONE)
  }
})

t.test('an invalid source ends the job, even without a reader', async (t) => {
  const { reporter, chunks } = start(t, null as unknown as string[])
  t.match(reporter.ends, [['error', { name: 'TypeError', message: /^the job needs a stream .* not null: .*stream: true/ }]])
  await t.rejects(chunks.next(), TypeError)
  t.same(await chunks.next(), DONE)
})

t.test('a promise of a source is awaited', async (t) => {
  const { chunks } = start(t, Promise.resolve(['a', 'b']))
  t.same(await readAll(chunks), ['a', 'b'])
})

t.test('a promise of a source that rejects ends the job, even without a reader', async (t) => {
  watchRejections(t)
  const refused = Object.assign(new Error('Rate limit exceeded'), { status: 429 })
  const { reporter, chunks } = start(t, Promise.reject<string[]>(refused))
  await turn()
  t.same(reporter.ends, [['error', refused]])
  await t.rejects(chunks.next(), refused)
})

t.test('a rejected promise of a source throws its reason to the reader', async (t) => {
  const { chunks } = start(t, Promise.reject<string[]>(new Error('refused')))
  await t.rejects(readAll(chunks), { message: 'refused' })
})

t.test('a thenable whose then throws or returns nothing counts as a promise', async (t) => {
  const broken: PromiseLike<string[]> = { then: () => { throw new Error('broken') } }
  await t.rejects(readAll(start(t, broken).chunks), { message: 'broken' })
  const bare = { then: (done: (source: string[]) => void) => { done(['a']) } } as unknown as PromiseLike<string[]>
  t.same(await readAll(start(t, bare).chunks), ['a'])
})

t.test('a reader that leaves ends the job as cancelled and closes the source', async (t) => {
  const hand = handSource()
  const { reporter, chunks } = start(t, hand.source, { text: true })
  const leave = (async () => {
    for await (const chunk of chunks) if (chunk === 'b') break
  })()
  for (const text of ['a', 'b']) {
    await turn()
    hand.give(text)
  }
  await leave
  t.same(hand.asked, ['next', 'next', 'return'])
  t.equal(reporter.text, 'ab')
  t.same(reporter.ends, [cancelled('its reader left before the end')])
  t.same(await chunks.next(), DONE)
})

t.test('a reader that throws leaves too, and gets its own error', async (t) => {
  const { reporter, chunks } = start(t, ['a', 'b'])
  const write = async () => {
    for await (const chunk of chunks) throw new Error(`no room for ${chunk}`)
  }
  await t.rejects(write(), { message: 'no room for a' })
  t.same(reporter.ends, [cancelled('its reader left before the end')])

  const second = start(t, ['a', 'b'])
  await t.rejects(second.chunks.throw(new Error('gone')), { message: 'gone' })
  t.same(second.reporter.ends, [cancelled('its reader left before the end')])
})

t.test('a reader can leave before the first chunk', async (t) => {
  const hand = handSource()
  const { chunks } = start(t, hand.source)
  t.same(await chunks.return(), DONE)
  t.same(hand.asked, ['return'])

  const disposed = start(t, ['a'])
  await (disposed.chunks as unknown as AsyncDisposable)[Symbol.asyncDispose]()
})

t.test('a reader can leave while it waits for a chunk', async (t) => {
  const hand = handSource()
  const { chunks } = start(t, hand.source)
  const next = chunks.next()
  await turn()
  t.same(await chunks.return(), DONE)
  t.same(await next, DONE)
  t.same(hand.asked, ['next', 'return'])
})

t.test('destroying a Node stream made from the chunks ends the job', async (t) => {
  const { reporter, chunks } = start(t, handSource().source)
  const stream = Readable.from(chunks)
  stream.resume()
  await turn()
  stream.destroy()
  await turn()
  t.same(reporter.ends, [cancelled('its reader left before the end')])
})

t.test('a source that hangs or throws on close neither delays the reader nor hides its error', async (t) => {
  watchRejections(t)
  for (const close of [() => new Promise(() => undefined), () => { throw new Error('broken') }, () => Promise.reject(new Error('broken'))]) {
    const source = { next: () => Promise.resolve({ done: false, value: 'a' }), return: close, [Symbol.asyncIterator]: () => source }
    const read = async () => {
      for await (const chunk of start(t, source as unknown as AsyncIterable<string>).chunks) throw new Error(`mine: ${chunk}`)
    }
    await t.rejects(read(), { message: 'mine: a' })
  }
})

t.test('a reader that leaves after the end changes nothing', async (t) => {
  const { reporter, chunks } = start(t, ['a'])
  await readAll(chunks)
  t.same(await chunks.return(), DONE)
  await t.rejects(chunks.throw(new Error('late')), { message: 'late' })
  t.match(reporter.ends, [['complete', {}]])
})

t.test('a source whose next returns no iterator results fails with a TypeError', async (t) => {
  const { reporter, chunks } = start(t, { [Symbol.iterator]: () => ({ next: () => undefined }) } as unknown as string[])
  await t.rejects(readAll(chunks), TypeError)
  t.match(reporter.ends, [['error', TypeError]])
})

t.test('a failure reported in a chunk fails the job, whatever follows', async (t) => {
  const told = { type: 'error', error: { message: 'Overloaded', type: 'overloaded_error' } }
  const failed = ['error', { message: 'Overloaded', type: 'overloaded_error', retryable: true }]

  const read = start(t, [told, { type: 'finish' }])
  t.same(await readAll(read.chunks), [told, { type: 'finish' }])
  t.same(read.reporter.ends, [failed])

  const left = start(t, [told, { type: 'finish' }])
  for await (const chunk of left.chunks) if (chunk === told) break
  t.same(left.reporter.ends, [failed])

  const thrown = start(t, (function* () {
    yield told
    throw new Error('No output generated')
  })())
  await t.rejects(readAll(thrown.chunks), { message: 'No output generated' })
  t.same(thrown.reporter.ends, [failed])
})
