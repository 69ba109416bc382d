import t from 'tap'
import { freshSeed } from './random.js'
import { fuzzWire } from './wire-fuzz.js'

// The second seed found that ws threw an error for the data after an invalid close frame.
for (const seed of [12, 2057553093, freshSeed()]) {
  t.test(`whatever bytes come, the server lives, leaks nothing and answers by the protocol (seed ${seed})`, async (t) => {
    const { inputs, answers } = await fuzzWire({ seed, connections: 300 })
    t.comment(`seed ${seed}: ${inputs} inputs, ${answers} answers`)
    t.ok(answers > 100, 'the server answered')
  })
}
