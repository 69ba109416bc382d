import t from 'tap'
import { Allowance } from '../../../lib/client/allowance.js'
import { FakeClock } from '../../support/fake-clock.js'

t.test('without limits nothing waits', async (t) => {
  for (const limits of [undefined, { burst: 5 }]) {
    const allowance = new Allowance(new FakeClock(), limits)
    for (let n = 0; n < 1000; n++) allowance.spend()
    t.ok(allowance.waitMs <= 0)
  }
})

t.test('four fifths of the burst may be sent at once, and of the rate in the long run', async (t) => {
  const clock = new FakeClock()
  const allowance = new Allowance(clock, { burst: 100, messagesPerSecond: 50 })
  let sent = 0
  for (let ms = 0; ms <= 10_000; ms++) {
    for (; allowance.waitMs <= 0; sent++) allowance.spend()
    if (ms === 0) t.equal(sent, 80)
    clock.advance(1)
  }
  t.ok(sent >= 478 && sent <= 481, `${sent} messages`)
})
