import t from 'tap'
import { fuzzApi } from './api-fuzz.js'
import { freshSeed } from './random.js'

for (const seed of [13, freshSeed()]) {
  t.test(`whatever an app calls and its hooks do, the server lives and every job ends (seed ${seed})`, async (t) => {
    const { calls, jobs } = await fuzzApi({ seed, rounds: 12 })
    t.comment(`seed ${seed}: ${calls} calls, ${jobs} jobs`)
    t.equal(jobs, 12 * 12)
  })
}
