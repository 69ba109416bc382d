import t from 'tap'
import { delayMs, ruleOf } from '../../../lib/client/backoff.js'
import { closeCodes, reconnectRule } from '../../../lib/protocol/codes.js'

const options = { reconnectInterval: 3000, maxReconnectIntervalMs: 30_000 }

t.test('the reconnect rules match the table of close codes, and so does the rule for unlisted codes', async (t) => {
  for (const { code, reconnect } of Object.values(closeCodes)) t.equal(ruleOf(code), reconnect, `${code}`)
  for (let code = 1000; code < 5000; code++) if (ruleOf(code) !== reconnectRule(code)) t.fail(`${code}`)
})

t.test('the delay between attempts doubles up to the maximum', async (t) => {
  const longest = [1, 2, 3, 4, 5, 6, 50].map((attempt) => delayMs('backoff', attempt, 1, options))
  t.same(longest, [3000, 6000, 12_000, 24_000, 30_000, 30_000, 30_000])
})

t.test('the delay has full jitter: a random time between zero and the maximum', async (t) => {
  for (const random of [0, 0.25, 0.999]) t.equal(delayMs('backoff', 3, random, options), random * 12_000)
})

t.test('`soon` means within a second, and afterwards the normal backoff', async (t) => {
  t.equal(delayMs('soon', 1, 0.5, options), 500)
  t.equal(delayMs('soon', 2, 0.5, options), 3000)
})

t.test('`later` means at least half of the maximum delay, and at most all of it', async (t) => {
  t.same([0, 0.5, 1].map((random) => delayMs('later', 1, random, options)), [30_000, 22_500, 15_000])
})

t.test('`fresh-token` means no delay', async (t) => {
  t.equal(delayMs('fresh-token', 1, 0.9, options), 0)
})
