import t from 'tap'
import { holds, match, present, same } from '../../../lib/testing/expect.js'
import { brokerContract, type BrokerFixture, type FixtureOptions } from '../../../lib/testing/index.js'
import { Random } from '../../../lib/testing/random.js'
import { RecordingNode } from '../../../lib/testing/recording-node.js'
import { busFixture } from '../../support/bus-fixture.js'

t.test('an expectation that fails says what was expected', (t) => {
  same({ a: [1] }, { a: [1] }, 'equal')
  t.throws(() => { same(1, 2, 'the number') }, { message: /^the number: [^]*1 !== 2/ })
  match({ a: 1, b: [{ c: 2, d: 3 }] }, { b: [{ c: 2 }], e: undefined }, 'a part')
  for (const actual of [{ b: 'no list' }, { b: [] }, { b: {} }, { b: [{ c: 3 }] }, undefined]) t.throws(() => { match(actual, { b: [{ c: 2 }] }, 'a part') }, { message: /^a part: / })
  holds(true, 'fine')
  t.throws(() => { holds(false, 'the rule is broken') }, { message: 'the rule is broken' })
  t.equal(present(0, 'a value'), 0)
  t.throws(() => { present(undefined, 'a value') }, { message: 'a value is missing' })
  t.end()
})

t.test('a wait that fails shows what happened', async (t) => {
  const node = new RecordingNode(20)
  await t.rejects(node.until('all', '{}'), { message: /^the delivery of \{\} in all did not happen\. The node's latest events are: none, after 20 ms$/ })
  node.disowned('session:s', 'j')
  node.statusChanged({ state: 'degraded' })
  node.deliver('all', { body: '{"a":1}', durable: false, revision: 3 })
  await t.rejects(node.until('all', '{}'), { message: /: disowned session:s j, statusChanged, deliver all \{"a":1\} \(revision 3\), after/ })
})

t.test('the node of a test never throws or rejects, whatever the test lets it do', async (t) => {
  const node = new RecordingNode()
  node.restarted('all')
  node.onReseed = () => Promise.reject(new Error('not published'))
  await t.resolves(node.reseed())
  t.same(node.events, [{ type: 'restarted', stream: 'all' }, { type: 'reseed' }])
})

t.test('random numbers are the same for the same seed', (t) => {
  const list = (seed: number): number[] => {
    const random = new Random(seed)
    return Array.from({ length: 20 }, () => random.below(100))
  }
  t.same(list(1), list(1))
  t.notSame(list(1), list(2))
  const random = new Random(1)
  t.equal(random.maybePick<number>([]), undefined)
  t.throws(() => { random.pick([]) }, { message: /missing/ })
  t.same(new Set(Array.from({ length: 100 }, () => random.weighted({ a: 1, b: 3, c: 0 }))), new Set(['a', 'b']))
  t.end()
})

t.test('a fixture that lacks a method which its options promise is told so', async (t) => {
  for (const [ability, method] of [['canLose', 'lose'], ['canDisconnect', 'disconnect'], ['canKill', 'kill']] as const) {
    const create = (): BrokerFixture => {
      const { store, clock } = busFixture(1)
      return { createBroker: () => store.createBroker(), clock }
    }
    const possible = new Set(brokerContract({ create, hasManyNodes: true }).map(({ name }) => name))
    const failures: string[] = []
    for (const { name, run } of brokerContract({ create, hasManyNodes: true, [ability]: true })) {
      if (!possible.has(name)) await run().catch((error: unknown) => { failures.push((error as Error).message) })
    }
    t.ok(failures.some((message) => message.includes(`the fixture has no method ${method}, but its options say so`)), method)
  }
})

t.test('an error of close fails a test, but not instead of the test\'s own error', async (t) => {
  const failing = (own?: Error): FixtureOptions['create'] => () => {
    const { store, clock } = busFixture(1)
    return {
      createBroker: () => {
        if (own !== undefined) throw own
        return store.createBroker()
      },
      clock,
      close: () => { throw new Error('not closed') }
    }
  }
  const [first] = brokerContract({ create: failing() })
  await t.rejects(first!.run(), { message: 'not closed' })
  const [again] = brokerContract({ create: failing(new Error('own')) })
  await t.rejects(again!.run(), { message: 'own' })
})
