import t from 'tap'
import { fuzzBroker } from '../../../lib/testing/index.js'
import { busFixture } from '../../support/bus-fixture.js'

/** A run that never meets one of these proves nothing about it. */
const MET = [
  'published start', 'published progress', 'published complete', 'published error', 'published message', 'superseded', 'repeated', 'dropped started',
  'dropped ended', 'dropped stray', 'dropped owned', 'dropped gap', 'recovered', 'not recovered: new', 'not recovered: restarted',
  'not recovered: overflow', 'adopt: true', 'adopt: false', 'release: true', 'release: false', 'leave', 'currentJob'
]

t.test('10,000 random calls have the same results and deliveries as with the memory broker', async (t) => {
  for (const seed of [1, 2]) {
    const { counts, ...report } = await fuzzBroker({ seed, create: () => busFixture(seed, { asBytes: seed % 2 === 0 }) })
    t.match(report, { seed, calls: 10_000 })
    t.ok(report.deliveries > 3_000, `${report.deliveries} deliveries`)
    for (const name of MET) t.ok((counts[name] ?? 0) >= 5, `${name}: ${String(counts[name])}`)
  }
})
