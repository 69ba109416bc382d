import t from 'tap'
import { Position } from '../../../lib/client/positions.js'

t.test('before a reply there is no position, and every message is new', async (t) => {
  const position = new Position()
  t.equal(position.since, undefined)
  t.equal(position.advance(7), 'new')
  t.equal(position.advance(undefined), 'new')
  t.notOk(position.mayRequest(), 'and no position to recover from')
})

t.test('the first reply sets the position to the head, even if no message was received', async (t) => {
  const position = new Position()
  t.equal(position.apply({ epoch: 'e', seq: 4, recovered: false, reason: 'new', replaying: 0 }), undefined)
  t.equal(position.since, 'e:4')
  t.equal(position.advance(5), 'new')
  t.equal(position.since, 'e:5')
})

t.test('duplicates are detected, and gaps are not skipped', async (t) => {
  const position = new Position()
  position.apply({ epoch: 'e', seq: 4, replaying: 0 })
  t.same([5, 5, 4, 7].map((seq) => position.advance(seq)), ['new', 'duplicate', 'duplicate', 'gap'])
  t.equal(position.since, 'e:5')
  position.skipTo(7)
  t.equal(position.advance(8), 'new')
})

t.test('while a snapshot arrives there is no position; afterwards it is the head', async (t) => {
  const position = new Position()
  position.apply({ epoch: 'e', seq: 9, recovered: false, reason: 'new', replaying: 3 })
  t.same([position.advance(2), position.since, position.settled], ['new', undefined, false])
  t.same([position.advance(undefined), position.since], ['new', undefined])
  t.same([position.advance(6), position.since, position.settled], ['new', 'e:9', true])
})

t.test('an incomplete snapshot ends with the first message after its head', async (t) => {
  const position = new Position()
  position.apply({ epoch: 'e', seq: 9, recovered: false, reason: 'new', replaying: 3 })
  position.advance(2)
  t.same([position.advance(10), position.since, position.settled], ['new', 'e:10', true])
})

t.test('a duplicate within a snapshot is detected', async (t) => {
  const position = new Position()
  position.apply({ epoch: 'e', seq: 9, recovered: false, reason: 'new', replaying: 3 })
  t.same([position.advance(2), position.advance(2)], ['new', 'duplicate'])
})

t.test('a replay advances only by delivered messages, so that an interruption loses nothing', async (t) => {
  const position = new Position()
  position.apply({ epoch: 'e', seq: 4, replaying: 0 })
  t.equal(position.apply({ epoch: 'e', seq: 8, recovered: true, replaying: 4 }), undefined)
  t.equal(position.since, 'e:4')
  position.advance(5)
  t.equal(position.since, 'e:5')
})

t.test('a gap is reported with its reason, and messages from before it are duplicates', async (t) => {
  const position = new Position()
  position.apply({ epoch: 'e', seq: 4, replaying: 0 })
  t.equal(position.apply({ epoch: 'e', seq: 40, recovered: false, reason: 'expired', replaying: 2 }), 'expired')
  t.same([position.advance(3), position.advance(30), position.since], ['duplicate', 'new', 'e:40'])
})

t.test('sequence numbers of two epochs are not compared', async (t) => {
  const position = new Position()
  position.apply({ epoch: 'e', seq: 40, replaying: 0 })
  t.equal(position.apply({ epoch: 'f', seq: 2, recovered: false, reason: 'restarted', replaying: 1 }), 'restarted')
  t.same([position.advance(1), position.since, position.advance(3)], ['new', 'f:2', 'new'])
})

t.test('a reply without a reason is a gap all the same; `new` means that the request had no position', async (t) => {
  const position = new Position()
  position.apply({ epoch: 'e', seq: 4 })
  t.equal(position.apply({ epoch: 'f' }), 'expired')
  t.equal(position.apply({ epoch: 'f', reason: 'new' }), undefined)
})

t.test('the same gap is requested once', async (t) => {
  const position = new Position()
  position.apply({ epoch: 'e', seq: 4, replaying: 0 })
  t.same([position.mayRequest(), position.mayRequest(), position.mayRequest('another')], [true, false, true])
  position.advance(5)
  t.ok(position.mayRequest())
})

t.test('after a reset there is no position', async (t) => {
  const position = new Position()
  position.apply({ epoch: 'e', seq: 4, replaying: 2 })
  position.reset()
  t.same([position.since, position.settled], [undefined, true])
})
