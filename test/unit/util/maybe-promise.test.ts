import t from 'tap'
import { all, isPromise, tryThen, andThen, type MaybePromise } from '../../../lib/util/maybe-promise.js'

const broken = new Error('broken')

t.test('only a value with a then method counts as a promise', (t) => {
  t.ok(isPromise(Promise.resolve()))
  t.ok(isPromise({ then: () => undefined }))
  for (const value of [undefined, null, 0, 'then', {}, { then: true }]) t.notOk(isPromise(value))
  t.end()
})

t.test('andThen calls back synchronously with a plain value', (t) => {
  t.equal(andThen(2, (value) => value + 1), 3)
  t.end()
})

t.test('andThen waits for a promise', async (t) => {
  const sum = andThen(Promise.resolve(2), (value) => value + 1)
  t.ok(isPromise(sum))
  t.equal(await sum, 3)
})

t.test('tryThen', (t) => {
  const told = (error: unknown): string => `failed: ${(error as Error).message}`
  const fail = (): never => { throw broken }

  t.test('calls back synchronously with a plain value', (t) => {
    t.equal(tryThen(() => 2, (value) => value + 1, () => 0), 3)
    t.end()
  })

  t.test('waits for a promise', async (t) => {
    const sum = tryThen(() => Promise.resolve(2), (value) => value + 1, () => 0)
    t.ok(isPromise(sum))
    t.equal(await sum, 3)
  })

  t.test('handles a throw and a rejection in the same way', async (t) => {
    t.equal(tryThen<string, string>(fail, (value) => value, told), 'failed: broken')
    t.equal(await tryThen<string, string>(() => Promise.reject(broken), (value) => value, told), 'failed: broken')
  })

  t.test('does not handle an error of the callback as one of the start', async (t) => {
    const unheard = (): never => { throw new Error('asked though the start went well') }
    t.throws(() => tryThen(() => 2, fail, unheard), broken)
    await t.rejects(Promise.resolve(tryThen(() => Promise.resolve(2), fail, unheard)), broken)
  })
  t.end()
})

t.test('all', (t) => {
  t.test('returns synchronously if no value is a promise', (t) => {
    t.strictSame(all([() => 1, () => 2]), [1, 2])
    t.strictSame(all([]), [])
    t.end()
  })

  t.test('keeps the order of the functions, whichever promise settles first', async (t) => {
    const starts: Array<() => MaybePromise<string>> = [
      () => new Promise((resolve) => { setImmediate(resolve, 'late') }), () => 'now', () => Promise.resolve('soon')
    ]
    const values = all(starts)
    t.ok(isPromise(values))
    t.strictSame(await values, ['late', 'now', 'soon'])
  })

  t.test('rejects with the first rejection', async (t) => {
    const starts = [() => 1, () => Promise.reject<number>(broken), () => Promise.reject<number>(new Error('second'))]
    await t.rejects(Promise.resolve(all(starts)), broken)
  })

  t.test('throws the error of a function, and calls no further ones', (t) => {
    t.throws(() => all([() => { throw broken }, () => t.fail('begun')]), broken)
    t.end()
  })

  t.test('handles rejections of promises that were created before a throw', async (t) => {
    const unhandled: unknown[] = []
    const note = (reason: unknown): void => { unhandled.push(reason) }
    process.on('unhandledRejection', note)
    t.teardown(() => { process.off('unhandledRejection', note) })
    t.throws(() => all<number>([() => 1, () => Promise.reject(new Error('unheard')), () => { throw broken }]), broken)
    // Unhandled rejections are reported after the microtasks, at most one turn later.
    await new Promise((resolve) => { setImmediate(resolve) })
    t.strictSame(unhandled, [])
  })
  t.end()
})
