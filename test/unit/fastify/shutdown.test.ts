import { setImmediate as turn } from 'node:timers/promises'
import t from 'tap'
import { Shutdown } from '../../../lib/fastify/shutdown.js'
import { FakeClock } from '../../support/fake-clock.js'
import { fakeLogger } from '../../support/log.js'

const never = (): Promise<never> => new Promise(() => { /* pending */ })

function create (timeoutMs = 1000): { clock: FakeClock, log: ReturnType<typeof fakeLogger>, shutdown: Shutdown, given: Array<[string, number]> } {
  const clock = new FakeClock()
  const log = fakeLogger()
  return { clock, log, shutdown: new Shutdown({ clock, log, timeoutMs }), given: [] }
}

t.test('each step gets the remaining time, or its share of it', async (t) => {
  const { clock, log, shutdown, given } = create()
  shutdown.add(
    { name: 'half', share: 0.5, run: (ms) => { given.push(['half', ms]); return never() } },
    { name: 'quick', run: (ms) => { given.push(['quick', ms]) } },
    { name: 'rest', run: (ms) => { given.push(['rest', ms]); return never() } },
    { name: 'none', run: (ms) => { given.push(['none', ms]); return never() } }
  )
  const running = shutdown.run()
  for (const ms of [500, 500, 0]) {
    for (let turns = 0; turns < 3; turns++) await turn()
    clock.advance(ms)
  }
  await running
  t.same(given, [['half', 500], ['quick', 500], ['rest', 500], ['none', 0]])
  t.same(log.entries.map(({ level, fields }) => [level, fields.step]), [['warn', 'half'], ['warn', 'rest'], ['warn', 'none']])
  t.equal(clock.monotonic(), 1000)
  t.equal(clock.pending, 0)
})

t.test('a step with its own timeout is awaited to its end', async (t) => {
  const { clock, log, shutdown } = create()
  let end = (): void => { /* set below */ }
  shutdown.add({ name: 'sockets', hasOwnTimeout: true, run: () => new Promise<void>((resolve) => { end = resolve }) })
  const running = shutdown.run()
  clock.advance(1001)
  end()
  await running
  t.same(log.entries, [])
})

t.test('a failed step is logged, the others still run, and the first error is thrown', async (t) => {
  const { log, shutdown, given } = create()
  const fault = (text: string): Error => new Error(text)
  shutdown.add(
    { name: 'throws', run: () => { throw fault('one') } },
    { name: 'rejects', run: () => Promise.reject(fault('two')) }
  )
  shutdown.add({ name: 'last', run: (ms) => { given.push(['last', ms]) } })
  await t.rejects(shutdown.run(), { message: 'one' })
  t.same(given, [['last', 1000]])
  t.same(log.entries.map(({ level, fields: { step, err } }) => [level, step, (err as Error).message]), [
    ['error', 'throws', 'one'], ['error', 'rejects', 'two']
  ])
})
