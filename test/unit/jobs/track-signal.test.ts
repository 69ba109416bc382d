import { getEventListeners } from 'node:events'
import { setImmediate as turn } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { track, type TrackOptions } from '../../../lib/jobs/track.js'
import type { TrackableSource } from '../../../lib/jobs/track-source.js'
import { FakeClock } from '../../support/fake-clock.js'
import { fakeReporter } from '../../support/fake-reporter.js'

function start<T> (source: TrackableSource<T>, options: TrackOptions<T> = {}) {
  const reporter = fakeReporter()
  return { reporter, chunks: track(reporter, {}, source, options, new FakeClock()) }
}

/** A model with an endless stream that records its signal and whether it was closed. */
function model () {
  const seen: { signal?: AbortSignal, closed: number, aborted: number } = { closed: 0, aborted: 0 }
  const stream = {
    [Symbol.asyncIterator]: () => ({
      next: () => new Promise<IteratorResult<string>>(() => undefined),
      return: () => {
        seen.closed++
        return Promise.resolve({ done: true as const, value: undefined })
      }
    }),
    abort: () => { seen.aborted++ }
  }
  return { seen, stream, ask: (signal: AbortSignal) => {
    seen.signal = signal
    return stream
  } }
}

function watchRejections (t: Test): unknown[] {
  const unhandled: unknown[] = []
  const note = (reason: unknown): void => { unhandled.push(reason) }
  process.on('unhandledRejection', note)
  t.teardown(() => { process.off('unhandledRejection', note) })
  return unhandled
}

async function readAll<T> (chunks: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = []
  for await (const chunk of chunks) all.push(chunk)
  return all
}

t.test('a function is called once, at once, with a signal that a normal end does not abort', async (t) => {
  const signals: AbortSignal[] = []
  const forms: Array<TrackableSource<string>> = [
    (signal) => { signals.push(signal); return ['a', 'b'] },
    (signal) => { signals.push(signal); return Promise.resolve(['a', 'b']) },
    async (signal) => { signals.push(signal); return Promise.resolve(new Blob(['ab']).stream() as unknown as string[]) }
  ]
  for (const [index, source] of forms.entries()) {
    const { reporter, chunks } = start(source)
    t.equal(signals.length, index + 1)
    await readAll(chunks)
    t.match(reporter.ends, [['complete', {}]])
    await chunks.return()
    reporter.cancel()
    t.equal(signals.at(-1)!.aborted, false)
  }
})

t.test('an error or rejection of the function ends the job and is thrown to the reader', async (t) => {
  const unhandled = watchRejections(t)
  const broken = Object.assign(new Error('no such model'), { status: 404 })
  for (const source of [() => { throw broken }, () => Promise.reject(broken)]) {
    const { signal } = new AbortController()
    const { reporter, chunks } = start<string>(source, { signal })
    await turn()
    t.same(reporter.ends, [['error', broken]])
    await t.rejects(chunks.next(), broken)
    t.match(await chunks.next(), { done: true })
    t.equal(getEventListeners(signal, 'abort').length, 0, 'no listener is left on the signal')
  }
  const { reporter } = start((() => undefined) as unknown as () => string[])
  t.match(reporter.ends, [['error', { name: 'TypeError', message: /the job needs a stream/ }]], 'a function that returns no stream')
  t.same(unhandled, [])
})

t.test('every way to end the job early reaches the model, with the reason', async (t) => {
  const reason = new Error('enough')
  let caller = new AbortController()
  const ways: Record<string, [run: (job: ReturnType<typeof start<string>>) => unknown, reason: unknown]> = {
    'a client\'s cancel': [({ reporter }) => { reporter.cancel(reason) }, reason],
    'the caller\'s signal': [() => { caller.abort(reason) }, reason],
    'a reader that leaves': [({ chunks }) => chunks.return(undefined), { name: 'AbortError' }],
    'a stall that nobody reads on from': [({ reporter }) => { reporter.stall() }, { code: 'AICW_ERR_STALLED' }]
  }
  for (const [what, [end, given]] of Object.entries(ways)) {
    const { seen, ask } = model()
    caller = new AbortController()
    const job = start<string>(ask, { signal: caller.signal })
    t.equal(seen.signal!.aborted, false, what)
    await end(job)
    t.match(seen.signal!.reason, given, what)
    t.match([seen.closed, seen.aborted], [1, 1], `${what}: and its stream is closed`)
  }
})

t.test('an error of text closes the stream, and so does a reader that leaves during a chunk', async (t) => {
  const broken = new Error('broken')
  let signal: AbortSignal | undefined
  const ask = (given: AbortSignal): string[] => {
    signal = given
    return ['a', 'b']
  }
  await t.rejects(readAll(start(ask, { text: () => { throw broken } }).chunks), broken)
  t.equal(signal!.reason, broken)
  for await (const chunk of start(ask).chunks) if (chunk === 'a') break
  t.equal(signal!.aborted, true)
  await t.rejects(readAll(start(ask, { result: () => { throw broken } }).chunks), broken)
  t.equal(signal!.aborted, false, 'but not after its end')
})

t.test('the signal aborts while the stream is pending, and the stream is closed when it arrives', async (t) => {
  const { seen, ask, stream } = model()
  let come: (there: typeof stream) => void = () => undefined
  const { reporter, chunks } = start((signal) => {
    ask(signal)
    return new Promise<typeof stream>((resolve) => { come = resolve })
  })
  const next = chunks.next()
  reporter.cancel()
  t.equal(seen.signal!.aborted, true)
  await t.rejects(next, { name: 'AbortError' })
  come(stream)
  await turn()
  t.same([seen.closed, seen.aborted], [1, 1])
})

t.test('a model that rejects because it was aborted changes nothing', async (t) => {
  const unhandled = watchRejections(t)
  const { reporter, chunks } = start((signal) => new Promise<string[]>((_resolve, reject) => {
    signal.addEventListener('abort', () => { reject(signal.reason as Error) })
  }))
  reporter.cancel()
  await turn()
  t.match(reporter.reports, [['error', { type: 'cancelled' }]])
  await t.rejects(chunks.next(), { name: 'AbortError' })
  t.same(unhandled, [])
})

t.test('for a cancelled job, the function is not called', async (t) => {
  let asked = 0
  const { reporter, chunks } = start(() => {
    asked++
    return ['a']
  }, { signal: AbortSignal.abort('too late') })
  t.equal(asked, 0)
  t.same(reporter.ends, [['error', { message: 'too late', type: 'cancelled' }]])
  t.equal(await chunks.next().catch((error: unknown) => error), 'too late')
})

t.test('an abort while the function runs ends the job, and closes what it returns', async (t) => {
  const caller = new AbortController()
  const { seen, ask } = model()
  const { reporter, chunks } = start((signal) => {
    caller.abort()
    return ask(signal)
  }, { signal: caller.signal })
  t.match(reporter.ends, [['error', { type: 'cancelled' }]])
  t.equal(seen.signal!.aborted, true)
  t.same([seen.closed, seen.aborted], [1, 1])
  await t.rejects(chunks.next(), { name: 'AbortError' })
})

t.test('a source\'s own abort and controller are called when the reader leaves, and never after its end or error', async (t) => {
  const make = (work: () => Generator<string>) => {
    const controller = new AbortController()
    let aborted = 0
    const source = Object.assign(work(), { controller, abort () { aborted += this === source ? 1 : 100 } })
    return { source, controller, count: () => aborted }
  }
  const left = make(function* () { yield* ['a', 'b'] })
  for await (const chunk of start<string>(left.source).chunks) if (chunk === 'a') break
  t.equal(left.count(), 1)
  t.equal(left.controller.signal.aborted, true)

  const ended = make(function* () { yield* ['a', 'b'] })
  const { chunks } = start<string>(ended.source)
  await readAll(chunks)
  await chunks.return()
  const failed = make(function* () { yield 'a'; throw new Error('broken') })
  await t.rejects(readAll(start<string>(failed.source).chunks), { message: 'broken' })
  for (const each of [ended, failed]) t.same([each.count(), each.controller.signal.aborted], [0, false])
})

t.test('an error of a source during its abort is logged, and stops nothing', async (t) => {
  const unhandled = watchRejections(t)
  const broken = new Error('broken')
  const fail = (): never => { throw broken }
  const rows: Array<[what: string, fields: object, faults: unknown[]]> = [
    ['abort', { abort: fail }, [broken]],
    ['abort, later', { abort: () => Promise.reject(broken) }, [broken]],
    ['controller.abort', { controller: { abort: fail } }, [broken]],
    ['the getter of abort', { get abort () { return fail() } }, [broken]],
    ['the getter of controller', { get controller () { return fail() } }, [broken]],
    ['a getter of the controller', { controller: { get abort () { return fail() } } }, [broken]],
    ['the getters of a Node stream', { get pipe () { return fail() }, get destroy () { return fail() } }, [broken, broken]],
    ['no functions', { abort: true, controller: { abort: 7 } }, []]
  ]
  for (const [what, fields, faults] of rows) {
    const { seen, stream } = model()
    const source = Object.defineProperties({ [Symbol.asyncIterator]: stream[Symbol.asyncIterator] }, Object.getOwnPropertyDescriptors(fields))
    const { reporter, chunks } = start(source)
    reporter.cancel()
    await turn()
    t.match(reporter.ends, [['error', { type: 'cancelled' }]], what)
    t.equal(seen.closed, 1, `${what}: the iterator is returned all the same`)
    t.same(reporter.warnings.map(({ err }) => err), faults, what)
    await t.rejects(chunks.next(), { name: 'AbortError' })
  }
  t.same(unhandled, [])
})

t.test('a getter that throws at the end does not fail the job', async (t) => {
  const source = Object.defineProperty(['a'], 'controller', { get: () => { throw new Error('broken') } })
  const { reporter, chunks } = start(source)
  t.same(await readAll(chunks), ['a'])
  t.match(reporter.ends, [['complete', {}]])
  t.match(reporter.warnings, [{ message: 'the stream of a job threw while it was being aborted', err: { message: 'broken' } }])
})

t.test('no listener stays on the caller\'s signal after any end', async (t) => {
  const { signal } = new AbortController()
  await t.rejects(start(null as unknown as string[], { signal }).chunks.next(), TypeError)
  await readAll(start(() => ['a'], { signal }).chunks)
  await start(model().ask, { signal }).chunks.return()
  t.equal(getEventListeners(signal, 'abort').length, 0)
})
