import { Readable } from 'node:stream'
import { setImmediate as turn } from 'node:timers/promises'
import { ChatCompletionStream } from 'openai/lib/ChatCompletionStream'
import type { ChatCompletionChunk } from 'openai/resources'
import t from 'tap'
import { TrackSource, type AISource } from '../../../lib/jobs/track-source.js'

/** Reads the remaining chunks of a source, as the tracker does. */
async function readAll<T> (source: AISource<T>): Promise<T[]> {
  const opened = new TrackSource(source)
  const chunks: T[] = []
  for (;;) {
    const result = await opened.read()
    if (result.done === true) return chunks
    chunks.push(result.value)
  }
}

/** An async generator that records how it ended. */
async function* watched (left: string[]): AsyncGenerator<string, void> {
  try {
    yield 'a'
    yield 'b'
  } finally {
    left.push('left')
  }
}

/** A `ReadableStream` without an async iterator, as in older browsers. */
function plainStream<T> (stream: ReadableStream<T>): ReadableStream<T> {
  Object.defineProperty(stream, Symbol.asyncIterator, { value: undefined })
  return stream
}

t.test('every kind of source is read', async (t) => {
  t.same(await readAll(watched([])), ['a', 'b'])
  t.same(await readAll(['a', 'b']), ['a', 'b'])
  t.same(await readAll(new Set([1, 2])), [1, 2])
  t.same(await readAll('a👋'), ['a', '👋'])
  t.same(await readAll(Readable.from(['a', 'b'])), ['a', 'b'])
  t.same(await readAll(new Blob(['ab']).stream()), [Uint8Array.from(Buffer.from('ab'))])
  t.same(await readAll(plainStream(new Blob(['ab']).stream())), [Uint8Array.from(Buffer.from('ab'))])
  t.same(await readAll({ fullStream: watched([]) }), ['a', 'b'])
})

t.test('promises among the chunks of an iterable are awaited', async (t) => {
  t.same(await readAll([Promise.resolve('a'), 'b']), ['a', 'b'])
  await t.rejects(readAll([Promise.reject(new Error('broken'))]), { message: 'broken' })
})

t.test('a synchronous source is read synchronously', (t) => {
  t.same(new TrackSource(['a']).read(), { done: false, value: 'a' })
  t.end()
})

t.test('a value that is not a stream throws an error that names the fix', (t) => {
  const none: Array<[unknown, string]> = [[null, 'null'], [undefined, 'undefined'], [7, 'number'], [{ choices: [] }, 'object'], [{ fullStream: 7 }, 'object']]
  for (const [source, name] of none) {
    t.throws(() => new TrackSource(source as never), {
      name: 'TypeError',
      message: `the job needs a stream of chunks (an async iterable, a ReadableStream, an iterable, a promise of one, or a function that returns one), not ${name}: ` +
        'for the OpenAI and Anthropic SDKs, set stream: true; for a fetch response, pass its body'
    })
  }
  t.end()
})

t.test('errors of opening or reading a source are rethrown, and it is not closed then', (t) => {
  const broken = new Error('broken')
  t.throws(() => new TrackSource({ [Symbol.asyncIterator]: () => { throw broken } }), broken)
  const returned: string[] = []
  const iterator = { next: () => { throw broken }, return: () => { returned.push('returned') } } as unknown as Iterator<string>
  const opened = new TrackSource({ [Symbol.iterator]: () => iterator })
  t.throws(() => opened.read(), broken)
  opened.close(undefined)
  t.same(returned, [])
  t.end()
})

t.test('close calls the iterator\'s return, once', async (t) => {
  const left: string[] = []
  const opened = new TrackSource(watched(left))
  await opened.read()
  opened.close(undefined)
  opened.close(undefined)
  await turn()
  t.same(left, ['left'])
})

t.test('close does nothing after the end', async (t) => {
  let returned = 0
  const iterator = { next: () => Promise.resolve({ done: true as const, value: undefined }), return: () => { returned++ } }
  const opened = new TrackSource({ [Symbol.asyncIterator]: () => iterator } as unknown as AsyncIterable<string>)
  await opened.read()
  opened.close(undefined)
  t.equal(returned, 0)
})

t.test('close handles an iterator without return, or whose return fails', async (t) => {
  const next = () => ({ done: false, value: 'a' })
  const returns = [undefined, () => { throw new Error('broken') }, () => Promise.reject(new Error('broken')), () => new Promise(() => undefined)]
  const unhandled: unknown[] = []
  const note = (reason: unknown): void => { unhandled.push(reason) }
  process.on('unhandledRejection', note)
  t.teardown(() => { process.off('unhandledRejection', note) })
  for (const each of returns) {
    for (const symbol of [Symbol.iterator, Symbol.asyncIterator]) {
      const opened = new TrackSource({ [symbol]: () => ({ next, return: each }) } as unknown as AISource<string>)
      opened.read()
      opened.close(undefined)
    }
  }
  await turn()
  t.same(unhandled, [])
})

t.test('a ReadableStream is unlocked at its end', async (t) => {
  const stream = new Blob(['ab']).stream()
  await readAll(stream)
  t.equal(stream.locked, false)
})

t.test('a ReadableStream that fails is unlocked', async (t) => {
  const stream = new ReadableStream<string>({ start: (controller) => { controller.error(new Error('broken')) } })
  await t.rejects(readAll(stream), { message: 'broken' })
  t.equal(stream.locked, false)
})

t.test('a ReadableStream is cancelled with the reason and unlocked, even during a read', async (t) => {
  const cancelled: unknown[] = []
  const stream = new ReadableStream<string>({ cancel: (reason) => { cancelled.push(reason) } })
  const opened = new TrackSource(stream)
  const reading = opened.read()
  opened.close('enough')
  t.same(cancelled, ['enough'])
  t.equal(stream.locked, false)
  t.match(await reading, { done: true })
})

t.test('a locked ReadableStream throws', (t) => {
  const stream = new Blob(['ab']).stream()
  stream.getReader()
  t.throws(() => new TrackSource(stream), TypeError)
  t.end()
})

t.test('a Node stream is destroyed during a read', async (t) => {
  const stream = new Readable({ read: () => undefined })
  const opened = new TrackSource<unknown>(stream)
  const reading = opened.read() as Promise<unknown>
  opened.close(undefined)
  t.equal(stream.destroyed, true)
  await t.rejects(reading)
})

t.test('an SDK\'s stream is aborted during a read', (t) => {
  const controller = new AbortController()
  const stream = { controller, [Symbol.asyncIterator]: () => ({ next: () => new Promise<never>(() => undefined) }) }
  const opened = new TrackSource(stream)
  opened.read()
  opened.close('enough')
  t.equal(controller.signal.reason, 'enough')
  t.end()
})

t.test('an SDK\'s stream that ends silently after an abort throws', async (t) => {
  const controller = new AbortController()
  const stream = Object.assign(watched([]), { controller })
  const opened = new TrackSource(stream)
  await opened.read()
  controller.abort()
  await opened.read()
  await t.rejects(Promise.resolve(opened.read()), { name: 'AbortError' })

  const late = new AbortController()
  const reason = new DOMException('too late', 'TimeoutError')
  late.abort(reason)
  await t.rejects(readAll(Object.assign(watched([]), { controller: late })), { name: 'AbortError', cause: reason }, 'the cause is the reason')
  await t.rejects(readAll(Object.assign(watched([]), { cancelled: true })), { name: 'AbortError' }, 'an SDK without a controller has a flag')
  t.same(await readAll(Object.assign(watched([]), { cancelled: 'never' })), ['a', 'b'])
})

/** An SDK's stream that had one chunk and then failed, before the chunk was read. */
async function failedEarly (): Promise<TrackSource<ChatCompletionChunk>> {
  const chunk = { id: '1', object: 'chat.completion.chunk', created: 1, model: 'm', choices: [{ index: 0, delta: { content: 'a' }, finish_reason: null }] }
  const { readable, writable } = new TransformStream<string, Uint8Array>({ transform: (line, controller) => { controller.enqueue(Buffer.from(line)) } })
  const stream = ChatCompletionStream.fromReadableStream(readable)
  const source = new TrackSource<ChatCompletionChunk>(stream)
  const writer = writable.getWriter()
  stream.once('chunk', () => { void writer.abort(new Error('broken')) })
  const failed = stream.emitted('error')
  await writer.write(`${JSON.stringify(chunk)}\n`)
  await failed
  return source
}

t.test('an error between two reads, which the SDK hides, is thrown too', async (t) => {
  const source = await failedEarly()
  t.match(await source.read(), { done: false, value: { choices: [{ delta: { content: 'a' } }] } })
  await t.rejects(Promise.resolve(source.read()), { message: 'broken' })
  t.ok(source.isOver)
})

t.test('fields of these names with another meaning are ignored', async (t) => {
  for (const fields of [{ errored: true }, { errored: true, done: true }, { errored: null, done: () => { throw new Error('not asked') } }]) {
    t.same(await readAll(Object.assign(watched([]), fields)), ['a', 'b'])
  }
})

t.test('a field named controller that is not one is ignored', async (t) => {
  for (const controller of [undefined, {}, 'pad', { signal: {} }]) {
    t.same(await readAll(Object.assign(watched([]), { controller })), ['a', 'b'])
    new TrackSource(Object.assign(watched([]), { controller })).close(undefined)
  }
})

t.test('a promise where a value is required throws a TypeError, and its rejection is handled', async (t) => {
  const unhandled: unknown[] = []
  const note = (reason: unknown): void => { unhandled.push(reason) }
  process.on('unhandledRejection', note)
  t.teardown(() => { process.off('unhandledRejection', note) })
  const rejects = (): never => Promise.reject(new Error('late')) as never
  for (const source of [{ [Symbol.asyncIterator]: rejects }, { [Symbol.iterator]: rejects }, { getReader: rejects }]) {
    t.throws(() => new TrackSource(source), { name: 'TypeError', message: /must not return a promise/ })
  }
  const source = new TrackSource({ [Symbol.iterator]: () => ({ next: rejects }) })
  await t.rejects(async () => source.read(), { name: 'TypeError', message: /next of an iterator must not/ })
  await new Promise((resolve) => { setImmediate(resolve) })
  t.same(unhandled, [])
})
