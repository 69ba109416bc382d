import t from 'tap'
import { parseHave, parseHaveText, parseSince } from '../../../lib/protocol/positions.js'

t.test('a position consists of an epoch and a number', async (t) => {
  t.strictSame(parseSince('f77aeb8a.0:12'), { epoch: 'f77aeb8a.0', seq: 12 })
  t.strictSame(parseSince('a-b_c.1:0'), { epoch: 'a-b_c.1', seq: 0 })
  t.strictSame(parseSince(`${'x'.repeat(64)}:999999999999999`), { epoch: 'x'.repeat(64), seq: 999_999_999_999_999 })
})

t.test('an invalid position is ignored', async (t) => {
  const wrong = [
    undefined, null, 5, {}, ['a.0:1'], '', ':', 'a.0', 'a.0:', ':1', 'a.0:-1', 'a.0:1.5', 'a.0: 1', 'a.0:1\n', 'a 0:1', 'é:1', 'a:0:1',
    `${'x'.repeat(65)}:1`, 'a.0:1000000000000000'
  ]
  for (const text of wrong) t.equal(parseSince(text), undefined, JSON.stringify(text))
})

t.test('have is parsed by job, and invalid entries are ignored', async (t) => {
  const entries = (value: unknown): unknown => [...parseHave(value)]
  t.strictSame(entries({ a: 0, b: 340 }), [['a', 0], ['b', 340]])
  t.strictSame(entries({ a: -1, b: 1.5, c: '5', d: null, e: NaN, f: 2 ** 60, g: 7 }), [['g', 7]])
  for (const none of [undefined, null, 5, 'text', true, []]) t.strictSame(entries(none), [])
  t.equal(parseHave(Object.fromEntries(Array.from({ length: 500 }, (_, i) => [`job ${i}`, i]))).size, 100, 'at most 100 jobs are read')
})

t.test('in a query, have is JSON', async (t) => {
  t.strictSame([...parseHaveText('{"a":3}')], [['a', 3]])
  const large = JSON.stringify({ a: 3, ballast: 'x'.repeat(8192) })
  for (const none of [undefined, 5, ['{"a":3}'], '', '{', 'null', '5', large]) t.equal(parseHaveText(none).size, 0, String(none).slice(0, 20))
})
