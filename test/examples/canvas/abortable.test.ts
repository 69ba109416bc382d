import t from 'tap'
import { abortable } from '../../../examples/canvas/abortable.js'

async function collect<T> (source: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = []
  for await (const item of source) all.push(item)
  return all
}

t.test('all pieces are passed on in order', async (t) => {
  async function * source (): AsyncGenerator<number> { yield * [1, 2, 3] }
  t.same(await collect(abortable(source(), new AbortController().signal)), [1, 2, 3])
})

t.test('an error of the source is passed on', async (t) => {
  async function * source (): AsyncGenerator<number> { yield 1; throw new Error('broken') }
  await t.rejects(collect(abortable(source(), new AbortController().signal)), new Error('broken'))
})

t.test('an abort ends a source that hangs and ignores the signal, with the reason', async (t) => {
  const controller = new AbortController()
  async function * source (): AsyncGenerator<number> { yield 1; await new Promise(() => undefined) }
  const seen: number[] = []
  await t.rejects(async () => {
    for await (const item of abortable(source(), controller.signal)) {
      seen.push(item)
      controller.abort(new Error('enough'))
    }
  }, new Error('enough'))
  t.same(seen, [1])
})

t.test('an abort before the first piece starts nothing', async (t) => {
  let started = false
  async function * source (): AsyncGenerator<number> { started = true; yield 1 }
  await t.rejects(collect(abortable(source(), AbortSignal.abort(new Error('too late')))), new Error('too late'))
  t.equal(started, false)
})

t.test('when the consumer stops, the source can clean up', async (t) => {
  let cleaned = false
  async function * source (): AsyncGenerator<number> { try { yield 1; yield 2 } finally { cleaned = true } }
  for await (const item of abortable(source(), new AbortController().signal)) {
    t.equal(item, 1)
    break
  }
  t.equal(cleaned, true)
})

t.test('an error that a stopped source throws during cleanup is ignored', async (t) => {
  const controller = new AbortController()
  async function * source (): AsyncGenerator<number> { try { yield 1; yield 2 } finally { throw new Error('while cleaning up') } }
  await t.rejects(async () => {
    for await (const item of abortable(source(), controller.signal)) controller.abort(new Error(item === 1 ? 'enough' : 'too late'))
  }, new Error('enough'))
})

t.test('a source without a `return` method works too', async (t) => {
  const source = { [Symbol.asyncIterator]: () => ({ next: async () => ({ done: true as const, value: undefined }) }) }
  t.same(await collect(abortable(source, new AbortController().signal)), [])
})
