import t from 'tap'
import { Gate } from '../../../lib/redis/gate.js'
import { Turns } from '../../../lib/redis/turns.js'
import { FakeClock } from '../../support/fake-clock.js'

const reason = (): string => 'it took too long'
const limit = { timeoutMs: 5_000, units: 1, reason }

t.test('calls that wait start in their order when their gate opens, and their outcomes are passed on', async (t) => {
  const gate = new Gate(new FakeClock())
  gate.close('publish')
  gate.close('read')
  const started: string[] = []
  const call = (name: string) => async (): Promise<string> => {
    started.push(name)
    if (name === 'fails') throw new Error('it failed')
    return name
  }
  const calls = [gate.pass('publish', limit, call('a')), gate.pass('read', limit, call('b')), gate.pass('publish', limit, call('fails'))] as const
  const failed = t.rejects(calls[2], /it failed/)
  gate.open('publish')
  gate.open('publish')
  t.same(started, ['a', 'fails'])
  t.equal(await calls[0], 'a')
  await failed
  t.same([gate.isClosed('publish'), gate.isClosed('read')], [false, true])
  const refused = t.rejects(calls[1], /gone/)
  gate.fail(new Error('gone'))
  await refused
  gate.open('read')
  t.same(started, ['a', 'fails'], 'a call that has failed never starts')
  gate.close('send')
  const waiting = gate.pass('send', limit, call('sent'))
  gate.fail(new Error('gone'), 'send')
  gate.open('send')
  t.equal(await waiting, 'sent', 'those of one kind wait on')
  gate.close('publish')
  gate.close('send')
  const mixed = [gate.pass('send', limit, call('start')), gate.pass('publish', limit, call('progress')), gate.pass('send', limit, call('note'))]
  gate.open('publish', 'send')
  await Promise.all(mixed)
  t.same(started.slice(-3), ['start', 'progress', 'note'], 'in the order of the calls, whatever their kinds')
})

t.test('a call that waits for too long is rejected, and never starts', async (t) => {
  const clock = new FakeClock()
  const gate = new Gate(clock)
  gate.close('publish')
  const rejected = t.rejects(gate.pass('publish', limit, () => Promise.reject(new Error('it has started'))), /it took too long/)
  clock.advance(5_000)
  await rejected
  gate.open('publish')
  t.equal(clock.pending, 0)
})

t.test('calls whose arguments take too much are rejected at once, until others have started', async (t) => {
  const gate = new Gate(new FakeClock())
  gate.close('publish')
  const large = { timeoutMs: 5_000, units: 20 * 1024 * 1024, reason }
  const first = gate.pass('publish', large, () => Promise.resolve(1))
  await t.rejects(gate.pass('publish', large, () => Promise.resolve(2)), /does not keep up/)
  gate.open('publish')
  t.equal(await first, 1)
  gate.close('publish')
  const third = gate.pass('publish', large, () => Promise.resolve(3))
  gate.open('publish')
  t.equal(await third, 3)
})

t.test('a limited number of calls runs at once, in order, and a failure makes room', async (t) => {
  const turns = new Turns(2)
  const started: number[] = []
  const settle: Array<(error?: Error) => void> = []
  const calls = [0, 1, 2, 3].map((n) => turns.run(() => new Promise<number>((resolve, reject) => {
    started.push(n)
    settle[n] = (error) => {
      if (error === undefined) resolve(n)
      else reject(error)
    }
  })))
  t.same(started, [0, 1])
  const failed = t.rejects(calls[0]!, /no/)
  settle[0]!(new Error('no'))
  await failed
  t.same(started, [0, 1, 2])
  for (const n of [1, 2]) settle[n]!()
  t.equal(await calls[1], 1)
  t.equal(await calls[2], 2)
  settle[3]!()
  t.equal(await calls[3], 3)
  t.equal(await turns.run(() => Promise.resolve(4)), 4)
})
