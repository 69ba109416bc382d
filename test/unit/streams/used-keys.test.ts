import t from 'tap'
import type { Published } from '../../../lib/streams/broker.js'
import { UsedKeys } from '../../../lib/streams/used-keys.js'
import { durable, keyed } from '../../../lib/testing/reports.js'
import { FakeClock } from '../../support/fake-clock.js'

const stream = 'session:s'
const published = (seq: number): Published => ({ epoch: 'e', seq, recipients: 0 })

t.test('a key is remembered for 10 minutes, and again if it is used after that', (t) => {
  const clock = new FakeClock()
  const keys = new UsedKeys(clock)
  const add = (id: string, seq: number): void => { keys.add(stream, keyed(id, durable), published(seq)) }
  const find = (id: string): number | undefined => keys.find(stream, { id, request: 'request' })?.seq
  add('a', 1)
  clock.advance(1)
  add('b', 2)
  clock.advance(599_998)
  t.same([find('a'), find('b')], [1, 2])
  clock.advance(1)
  t.same([find('a'), find('b')], [undefined, 2])
  add('a', 3)
  clock.advance(1)
  add('c', 4)
  t.same([find('a'), find('b'), find('c')], [3, undefined, 4])
  keys.clear()
  t.same([find('a'), find('b'), find('c')], [undefined, undefined, undefined])
  t.end()
})

t.test('the newest 10,000 keys are remembered', (t) => {
  const keys = new UsedKeys(new FakeClock())
  for (let seq = 0; seq <= 10_000; seq++) keys.add(stream, keyed(String(seq), durable), published(seq))
  const find = (id: number): number | undefined => keys.find(stream, { id: String(id), request: 'request' })?.seq
  t.same([0, 1, 10_000].map(find), [undefined, 1, 10_000])
  t.end()
})
