import t from 'tap'
import { Position } from '../../../lib/client/positions.js'

t.test('without an answer there is no position, and everything is new', async (t) => {
  const position = new Position()
  t.equal(position.since, undefined)
  t.equal(position.advance(7), 'new')
  t.equal(position.advance(undefined), 'new')
  t.notOk(position.mayRequest(), 'and nothing to go on from')
})

t.test('a first answer gives the head as position, also when nothing was received yet', async (t) => {
  const position = new Position()
  t.equal(position.apply({ epoch: 'e', seq: 4, recovered: false, reason: 'new', replaying: 0 }), undefined)
  t.equal(position.since, 'e:4')
  t.equal(position.advance(5), 'new')
  t.equal(position.since, 'e:5')
})

t.test('doubles are seen, and holes are not stepped over', async (t) => {
  const position = new Position()
  position.apply({ epoch: 'e', seq: 4, replaying: 0 })
  t.same([5, 5, 4, 7].map((seq) => position.advance(seq)), ['new', 'duplicate', 'duplicate', 'gap'])
  t.equal(position.since, 'e:5')
  position.skipTo(7)
  t.equal(position.advance(8), 'new')
})

t.test('while a present state comes there is no position, and after it it is the head', async (t) => {
  const position = new Position()
  position.apply({ epoch: 'e', seq: 9, recovered: false, reason: 'new', replaying: 3 })
  t.same([position.advance(2), position.since, position.settled], ['new', undefined, false])
  t.same([position.advance(undefined), position.since], ['new', undefined])
  t.same([position.advance(6), position.since, position.settled], ['new', 'e:9', true])
})

t.test('a present state that comes short ends with the first message behind its head', async (t) => {
  const position = new Position()
  position.apply({ epoch: 'e', seq: 9, recovered: false, reason: 'new', replaying: 3 })
  position.advance(2)
  t.same([position.advance(10), position.since, position.settled], ['new', 'e:10', true])
})

t.test('a double within a present state is one', async (t) => {
  const position = new Position()
  position.apply({ epoch: 'e', seq: 9, recovered: false, reason: 'new', replaying: 3 })
  t.same([position.advance(2), position.advance(2)], ['new', 'duplicate'])
})

t.test('a replay goes forward by what was delivered, so that a cut in it loses nothing', async (t) => {
  const position = new Position()
  position.apply({ epoch: 'e', seq: 4, replaying: 0 })
  t.equal(position.apply({ epoch: 'e', seq: 8, recovered: true, replaying: 4 }), undefined)
  t.equal(position.since, 'e:4')
  position.advance(5)
  t.equal(position.since, 'e:5')
})

t.test('a gap is told with its reason, and what came before it does not come twice', async (t) => {
  const position = new Position()
  position.apply({ epoch: 'e', seq: 4, replaying: 0 })
  t.equal(position.apply({ epoch: 'e', seq: 40, recovered: false, reason: 'expired', replaying: 2 }), 'expired')
  t.same([position.advance(3), position.advance(30), position.since], ['duplicate', 'new', 'e:40'])
})

t.test('numbers of two lives of a stream are not compared', async (t) => {
  const position = new Position()
  position.apply({ epoch: 'e', seq: 40, replaying: 0 })
  t.equal(position.apply({ epoch: 'f', seq: 2, recovered: false, reason: 'restarted', replaying: 1 }), 'restarted')
  t.same([position.advance(1), position.since, position.advance(3)], ['new', 'f:2', 'new'])
})

t.test('a server that gives no reason has a gap all the same; `new` says that it was not told where one was', async (t) => {
  const position = new Position()
  position.apply({ epoch: 'e', seq: 4 })
  t.equal(position.apply({ epoch: 'f' }), 'expired')
  t.equal(position.apply({ epoch: 'f', reason: 'new' }), undefined)
})

t.test('the same gap is asked about once', async (t) => {
  const position = new Position()
  position.apply({ epoch: 'e', seq: 4, replaying: 0 })
  t.same([position.mayRequest(), position.mayRequest(), position.mayRequest('another')], [true, false, true])
  position.advance(5)
  t.ok(position.mayRequest())
})

t.test('what is forgotten starts anew', async (t) => {
  const position = new Position()
  position.apply({ epoch: 'e', seq: 4, replaying: 2 })
  position.reset()
  t.same([position.since, position.settled], [undefined, true])
})
