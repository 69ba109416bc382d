import t from 'tap'
import { Control } from '../../../lib/redis/control.js'
import { Keys } from '../../../lib/redis/keys.js'
import type { Store } from '../../../lib/redis/store.js'
import { RecordingNode } from '../../../lib/testing/recording-node.js'
import { FakeClock } from '../../support/fake-clock.js'
import { fakeLogger } from '../../support/log.js'

type Entry = readonly [id: string, message: string]

/** A control over a log in memory. It notes what is sent. */
function setUp () {
  const [clock, log, node, keys] = [new FakeClock(), fakeLogger(), new RecordingNode(), new Keys('p')]
  const entries: Entry[] = []
  const sent: Array<{ channel: string, message: Record<string, unknown> }> = []
  const state = { receivers: 1, isUp: true, living: ['own'] }
  const check = (): void => { if (!state.isUp) throw new Error('Redis is away') }
  const store = {
    endOfLog: async () => entries.at(-1)?.[0] ?? '0-0',
    readLog: async (from: string) => {
      const isAfter = from.startsWith('(')
      const at = Number(from.replace('(', '').split('-')[0])
      return entries.filter(([id]) => isAfter ? Number(id.split('-')[0]) > at : Number(id.split('-')[0]) >= at).slice(0, 1_000)
    },
    revoke: async (message: string) => {
      check()
      entries.push([`${entries.length + 1}-0`, message])
      return state.living
    },
    send: async (channel: string, message: Record<string, unknown>) => {
      check()
      sent.push({ channel, message })
      return state.receivers
    }
  } as unknown as Store
  const notices: string[] = []
  const control = new Control({
    name: 'own', node, store, keys, clock, log,
    onPeer: (peer) => { notices.push(`peer ${peer}`) },
    onLost: () => { notices.push('lost') },
    onSeeded: () => { notices.push('seeded') }
  })
  return { clock, log, node, keys, entries, sent, state, control, notices }
}

const revocation = (n: number): Entry => [`${n}-0`, JSON.stringify({ type: 'revoke', id: String(n), from: 'own', userId: String(n) })]

t.test('all pages of the log are read, and each revocation is carried out once', async (t) => {
  const { control, node, entries } = setUp()
  for (let n = 1; n <= 3; n++) entries.push(revocation(n))
  await control.start()
  for (let n = 4; n <= 12_010; n++) entries.push(revocation(n))
  entries.push(['12011-0', 'no JSON'])
  await control.catchUp()
  t.equal(node.all('revoke').length, 12_007, 'the ones from before the start are skipped')
  await control.catchUp()
  t.equal(node.all('revoke').filter(({ revocation: { userId } }) => userId === '12010').length, 1)
})

t.test('a revocation that was not written is written later; after a loss of history, the latest ones are written again', async (t) => {
  const { control, clock, entries, state } = setUp()
  state.isUp = false
  await t.rejects(control.revoke({ userId: 'u' }), /Redis is away/)
  await t.rejects(control.rewrite(false), /Redis is away/)
  state.isUp = true
  await control.rewrite(false)
  await control.rewrite(false)
  t.equal(entries.length, 1)
  await control.rewrite(true)
  t.equal(entries.length, 2)
  clock.advance(600_001)
  await control.rewrite(true)
  t.equal(entries.length, 2, 'an old one was carried out by everyone long ago')
  for (let n = 0; n < 1_001; n++) await control.revoke({ userId: String(n) })
  await control.rewrite(true)
  t.equal(entries.length, 2 + 1_001 + 1_000, 'at most 1,000 are remembered')
})

t.test('revoke waits for all living nodes, and names the ones that are missing', async (t) => {
  const { control, clock, state, entries } = setUp()
  state.living = ['own', 'a', 'b']
  const confirm = (...nodes: string[]): void => {
    const { id } = JSON.parse(entries.at(-1)![1]) as { id: string }
    for (const node of nodes) control.receive(JSON.stringify({ type: 'revoked', id, node }))
  }
  const rejected = t.rejects(control.revoke({ userId: 'u' }), /not confirmed by b within 2000 ms/)
  // Confirmations may overtake the reply.
  confirm('a')
  await new Promise(setImmediate)
  clock.advance(2_000)
  await rejected
  confirm('b')
  const confirmed = control.revoke({ userId: 'u' })
  await new Promise(setImmediate)
  confirm('a', 'b')
  await confirmed
  t.equal(clock.pending, 0)
})

t.test('a cancel reaches its owner, whose result is returned; it fails if nobody receives it or answers', async (t) => {
  const { control, clock, node, keys, sent, state, log } = setUp()
  const cancelled = control.cancel('a', 'session:s', 'j')
  await new Promise(setImmediate)
  const { channel, message } = sent.at(-1)!
  t.match({ channel, message }, { channel: keys.node('a'), message: { type: 'cancel', from: 'own', jobId: 'j' } })
  control.receive(JSON.stringify({ type: 'cancelled', id: message.id, result: true }))
  t.equal(await cancelled, true)
  control.receive(JSON.stringify({ type: 'cancelled', id: 'unknown', result: true }))
  const unanswered = control.cancel('a', 'session:s', 'j')
  await new Promise(setImmediate)
  clock.advance(10_000)
  t.equal(await unanswered, 'failed')
  state.receivers = 0
  t.equal(await control.cancel('a', 'session:s', 'j'), 'failed')
  await t.rejects(control.checkSubscription(), /different servers/)
  control.receive(JSON.stringify({ type: 'cancel', id: '1', from: 'a', stream: 'session:s', jobId: 'j' }))
  await new Promise(setImmediate)
  t.match(sent.at(-1), { channel: keys.node('a'), message: { type: 'cancelled', id: '1', result: true } })
  state.isUp = false
  control.receive(JSON.stringify({ type: 'cancel', id: '2', from: 'a', stream: 'session:s', jobId: 'j' }))
  control.receive(JSON.stringify({ type: 'revoke', id: 'r', from: 'a', userId: 'u', sessionId: 's' }))
  await new Promise(setImmediate)
  t.match(log.entries, [{ level: 'warn', message: /result of a cancel/ }])
  t.same(node.all('revoke').map(({ revocation }) => revocation), [{ userId: 'u', sessionId: 's' }])
})

t.test('notices reach the node', async (t) => {
  const { control, node, notices } = setUp()
  for (const message of [{ type: 'joined', node: 'a' }, { type: 'lost' }, { type: 'seeded' }, { type: 'beat' }, { type: 'disowned', stream: 'session:s', jobId: 'j' }]) {
    control.receive(JSON.stringify(message))
  }
  t.same(notices, ['peer a', 'lost', 'seeded'])
  t.match(node.all('disowned'), [{ stream: 'session:s', jobId: 'j' }])
})

t.test('an answer that can\'t be sent is missing there, and a question of this node is not answered twice', async (t) => {
  const { control, node, sent, state } = setUp()
  const ask = (from: string): void => { control.receive(JSON.stringify({ type: 'ask', id: '1', from, question: 'who?' })) }
  ask('own')
  t.same(node.all('answer'), [])
  ask('other')
  await new Promise((resolve) => { setImmediate(resolve) })
  t.match(sent.at(-1), { message: { type: 'answer', id: '1', node: 'own' } })
  state.isUp = false
  ask('other')
  await new Promise((resolve) => { setImmediate(resolve) })
  t.equal(sent.length, 1)
})

t.test('only the nodes that were asked are counted, once each', async (t) => {
  const { control, sent } = setUp()
  const asked = control.ask('who?', ['a', 'b'])
  await new Promise((resolve) => { setImmediate(resolve) })
  const answer = (node: string): void => { control.receive(JSON.stringify({ type: 'answer', id: sent.at(-1)!.message.id, node, answer: `of ${node}` })) }
  for (const node of ['x', 'a', 'a', 'b']) answer(node)
  t.same(await asked, { answers: [{ node: 'own', answer: '' }, { node: 'a', answer: 'of a' }, { node: 'b', answer: 'of b' }], missing: [] })
})

t.test('a node whose channel nobody has subscribed to is with another server', async (t) => {
  const { control, state } = setUp()
  await t.resolves(control.checkSubscription())
  state.receivers = 0
  await t.rejects(control.checkSubscription(), /different servers/)
})
