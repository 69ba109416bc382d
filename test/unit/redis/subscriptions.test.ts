import t from 'tap'
import { parseFrame } from '../../../lib/redis/frame.js'
import { ForeignKeyError, OutdatedError } from '../../../lib/redis/functions.js'
import { Keys } from '../../../lib/redis/keys.js'
import type { Link } from '../../../lib/redis/link.js'
import type { Store } from '../../../lib/redis/store.js'
import { Subscriptions } from '../../../lib/redis/subscriptions.js'
import type { Joined } from '../../../lib/streams/broker.js'
import { RecordingNode } from '../../../lib/testing/recording-node.js'
import { FakeClock } from '../../support/fake-clock.js'
import { turn } from '../../support/hand-broker.js'
import { fakeLogger } from '../../support/log.js'

const frame = (revision: number) => parseFrame(Buffer.from(`e ${revision} ${revision} 2 1 0 0 0 0 0\n{}`))
const joined = (revision: number, recovered = false): Joined => ({ epoch: 'e', seq: revision, revision, recovered, ...(!recovered && { reason: 'expired' as const }), replay: [] })

function setUp () {
  const [clock, log, node] = [new FakeClock(), fakeLogger(), new RecordingNode()]
  const notices: string[] = []
  const state: { isUp: boolean, result: () => Promise<Joined>, subscribe: () => Promise<unknown> } = { isUp: true, result: () => Promise.resolve(joined(5)), subscribe: () => Promise.resolve([]) }
  const link = { get isUp () { return state.isUp }, call: () => state.subscribe() } as unknown as Link
  const store = { join: () => state.result() } as unknown as Store
  const subscriptions = new Subscriptions({
    link, store, keys: new Keys('p'), node, clock, maxTextUnits: 1_000, log,
    onOutdated: () => { notices.push('outdated') },
    onFailure: (error) => { notices.push((error as Error).message) }
  })
  return { clock, log, node, notices, state, subscriptions }
}

t.test('a gap that can\'t be read is reported, unless the stream was left or the connection is lost', async (t) => {
  for (const [what, error, isUp, isLeft, expected] of [
    ['lost history', new OutdatedError('gone'), true, false, ['outdated']],
    ['another error', new Error('refused'), true, false, ['refused']],
    ['without a connection', new Error('refused'), false, false, []],
    ['after it was left', new Error('refused'), true, true, []]
  ] as const) {
    const { subscriptions, state, notices } = setUp()
    const subscription = subscriptions.follow('session:s')
    subscription.joined(joined(1))
    state.result = () => Promise.reject(error)
    subscription.receive(frame(5))
    state.isUp = isUp
    if (isLeft) subscriptions.leave('session:s')
    await turn()
    t.same(notices, expected, what)
  }
})

t.test('a gap whose messages are no longer kept, or whose keys belong to another program, restarts the stream', async (t) => {
  for (const result of [() => Promise.resolve(joined(5)), () => Promise.reject(new ForeignKeyError('mine'))]) {
    const { subscriptions, state, node, notices } = setUp()
    const subscription = subscriptions.follow('session:s')
    subscription.joined(joined(1))
    state.result = result
    subscription.receive(frame(5))
    await turn()
    t.same(node.all('restarted').map(({ stream }) => stream), ['session:s'])
    t.same(notices, [])
  }
})

t.test('streams are counted as touched in turns', (t) => {
  const { subscriptions, clock } = setUp()
  for (const name of ['a', 'b', 'c'] as const) subscriptions.follow(`session:${name}`)
  clock.advance(10)
  t.same(subscriptions.takeUntouched(clock.monotonic() - 1, 3), ['all', 'session:a', 'session:b'])
  t.same(subscriptions.takeUntouched(clock.monotonic() - 1, 3), ['session:c'])
  t.end()
})

t.test('the result for a stream that was restarted meanwhile is not used, and the stream for everyone continues by itself', async (t) => {
  const { subscriptions, state, node } = setUp()
  const subscription = subscriptions.follow('session:s')
  subscription.joined(joined(1))
  subscription.receive(frame(5))
  subscription.restart()
  await turn()
  t.equal(subscription.isWaiting, true)
  const all = subscriptions.get('all')!
  all.joined(joined(1))
  state.result = () => Promise.resolve(joined(7))
  all.receive(frame(5))
  await turn()
  await turn()
  t.same(all.position, { epoch: 'e', seq: 7 })
  t.same(node.all('restarted'), [])
})

t.test('a subscription that Redis refuses is requested again by the next join, unless it was requested meanwhile', async (t) => {
  const { subscriptions, state } = setUp()
  let requests = 0
  state.subscribe = () => {
    requests++
    return Promise.reject(new Error('refused'))
  }
  const subscription = subscriptions.follow('session:s')
  await t.rejects(subscriptions.confirm(subscription), { message: 'refused' })
  t.equal(subscription.confirmed, undefined)
  const again = t.rejects(subscriptions.confirm(subscription), { message: 'refused' })
  const newer = Promise.resolve()
  subscription.confirmed = newer
  await again
  t.equal(subscription.confirmed, newer)
  t.equal(requests, 2)
})
