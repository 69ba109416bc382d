import t from 'tap'
import { Position } from '../../../lib/client/positions.js'

t.test('without an answer there is no position, and everything is new', async (t) => {
  const position = new Position()
  t.equal(position.since, undefined)
  t.equal(position.take(7), 'new')
  t.equal(position.take(undefined), 'new')
  t.notOk(position.mayAskAbout(), 'and nothing to go on from')
})

t.test('a first answer gives the head as position, also when nothing was received yet', async (t) => {
  const position = new Position()
  t.equal(position.greet({ epoch: 'e', seq: 4, recovered: false, reason: 'new', replaying: 0 }), undefined)
  t.equal(position.since, 'e:4')
  t.equal(position.take(5), 'new')
  t.equal(position.since, 'e:5')
})

t.test('doubles are seen, and holes are not stepped over', async (t) => {
  const position = new Position()
  position.greet({ epoch: 'e', seq: 4, replaying: 0 })
  t.same([5, 5, 4, 7].map((seq) => position.take(seq)), ['new', 'double', 'double', 'hole'])
  t.equal(position.since, 'e:5')
  position.jump(7)
  t.equal(position.take(8), 'new')
})

t.test('while a present state comes there is no position, and after it it is the head', async (t) => {
  const position = new Position()
  position.greet({ epoch: 'e', seq: 9, recovered: false, reason: 'new', replaying: 3 })
  t.same([position.take(2), position.since, position.settled], ['new', undefined, false])
  t.same([position.take(undefined), position.since], ['new', undefined])
  t.same([position.take(6), position.since, position.settled], ['new', 'e:9', true])
})

t.test('a present state that comes short ends with the first message behind its head', async (t) => {
  const position = new Position()
  position.greet({ epoch: 'e', seq: 9, recovered: false, reason: 'new', replaying: 3 })
  position.take(2)
  t.same([position.take(10), position.since, position.settled], ['new', 'e:10', true])
})

t.test('a double within a present state is one', async (t) => {
  const position = new Position()
  position.greet({ epoch: 'e', seq: 9, recovered: false, reason: 'new', replaying: 3 })
  t.same([position.take(2), position.take(2)], ['new', 'double'])
})

t.test('a replay goes forward by what was delivered, so that a cut in it loses nothing', async (t) => {
  const position = new Position()
  position.greet({ epoch: 'e', seq: 4, replaying: 0 })
  t.equal(position.greet({ epoch: 'e', seq: 8, recovered: true, replaying: 4 }), undefined)
  t.equal(position.since, 'e:4')
  position.take(5)
  t.equal(position.since, 'e:5')
})

t.test('a gap is told with its reason, and what came before it does not come twice', async (t) => {
  const position = new Position()
  position.greet({ epoch: 'e', seq: 4, replaying: 0 })
  t.equal(position.greet({ epoch: 'e', seq: 40, recovered: false, reason: 'expired', replaying: 2 }), 'expired')
  t.same([position.take(3), position.take(30), position.since], ['double', 'new', 'e:40'])
})

t.test('numbers of two lives of a stream are not compared', async (t) => {
  const position = new Position()
  position.greet({ epoch: 'e', seq: 40, replaying: 0 })
  t.equal(position.greet({ epoch: 'f', seq: 2, recovered: false, reason: 'restarted', replaying: 1 }), 'restarted')
  t.same([position.take(1), position.since, position.take(3)], ['new', 'f:2', 'new'])
})

t.test('a server that gives no reason has a gap all the same; `new` says that it was not told where one was', async (t) => {
  const position = new Position()
  position.greet({ epoch: 'e', seq: 4 })
  t.equal(position.greet({ epoch: 'f' }), 'expired')
  t.equal(position.greet({ epoch: 'f', reason: 'new' }), undefined)
})

t.test('the same gap is asked about once', async (t) => {
  const position = new Position()
  position.greet({ epoch: 'e', seq: 4, replaying: 0 })
  t.same([position.mayAskAbout(), position.mayAskAbout(), position.mayAskAbout('another')], [true, false, true])
  position.take(5)
  t.ok(position.mayAskAbout())
})

t.test('what is forgotten starts anew', async (t) => {
  const position = new Position()
  position.greet({ epoch: 'e', seq: 4, replaying: 2 })
  position.forget()
  t.same([position.since, position.settled], [undefined, true])
})
