import { AsyncLocalStorage } from 'node:async_hooks'
import t from 'tap'
import { UpgradeQueue } from '../../../lib/fastify/upgrade-queue.js'
import { FakeClock } from '../../support/fake-clock.js'

function start (perTurn = 2) {
  const clock = new FakeClock()
  const upgradeQueue = new UpgradeQueue(clock, perTurn)
  const through: number[] = []
  const come = (...numbers: number[]): void => { for (const number of numbers) upgradeQueue.pass(() => { through.push(number) }) }
  return { clock, upgradeQueue, through, come }
}

t.test('a single upgrade continues at once', (t) => {
  const { clock, through, come } = start()
  for (const number of [1, 2, 3]) {
    come(number)
    t.equal(through.at(-1), number)
    clock.tick()
  }
  t.end()
})

t.test('a limited number of simultaneous upgrades continues in each turn, in order', (t) => {
  const { clock, through, come } = start()
  come(1, 2, 3, 4, 5)
  t.strictSame(through, [1, 2])
  clock.tick()
  t.strictSame(through, [1, 2, 3, 4])
  come(6, 7)
  t.strictSame(through, [1, 2, 3, 4], 'a waiting upgrade is not overtaken')
  clock.tick()
  t.strictSame(through, [1, 2, 3, 4, 5, 6])
  clock.tick()
  t.strictSame(through, [1, 2, 3, 4, 5, 6, 7])
  come(8)
  t.equal(through.at(-1), 8, 'the turn of the last one has room left')
  t.end()
})

t.test('an empty queue schedules no turn', (t) => {
  const { clock, come } = start()
  come(1, 2, 3)
  for (let turns = 0; turns < 3; turns++) clock.tick()
  const ends = t.capture(clock, 'endOfTick', clock.endOfTick.bind(clock))
  clock.tick()
  t.equal(ends().length, 0)
  t.end()
})

t.test('an upgrade that adds others makes them wait', (t) => {
  const { clock, upgradeQueue, through, come } = start(1)
  upgradeQueue.pass(() => { come(1) })
  t.strictSame(through, [])
  clock.tick()
  t.strictSame(through, [1])
  t.end()
})

t.test('a waiting upgrade continues in its own async context', (t) => {
  const { clock, upgradeQueue } = start()
  const storage = new AsyncLocalStorage<number>()
  const seen: Array<number | undefined> = []
  for (const number of [1, 2, 3, 4, 5]) storage.run(number, () => { upgradeQueue.pass(() => { seen.push(storage.getStore()) }) })
  for (let turns = 0; turns < 3; turns++) storage.run(0, () => { clock.tick() })
  t.strictSame(seen, [1, 2, 3, 4, 5])
  t.end()
})
