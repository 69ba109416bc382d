import t from 'tap'
import { runChaos } from './chaos.js'
import { freshSeed } from './random.js'

// The short form of `npm run soak`, with a fixed seed and a random one, which is printed.

for (const seed of [11, freshSeed()]) {
  t.test(`every tab sees everything through kills, restarts and bad lines (seed ${seed})`, async (t) => {
    const { deliveries, kills, restarts } = await runChaos({ seed, durationMs: 2_000, maxFaultMs: 800 })
    t.comment(`seed ${seed}: ${deliveries} deliveries, ${kills} kills, ${restarts} restarts`)
    // With a random seed, there may be no kill within two seconds.
    if (seed === 11) t.ok(kills > 0 && restarts > 0, 'the server was killed and restarted')
    t.ok(deliveries > 30, 'readers were delivered something')
  })
}
