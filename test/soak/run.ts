import { parseArgs } from 'node:util'
import { fuzzApi } from './api-fuzz.js'
import { runChaos } from './chaos.js'
import { freshSeed, Random } from './random.js'
import { SoakFailure } from './soak-failure.js'
import { fuzzWire } from './wire-fuzz.js'

// `npm run soak`: see README.md.

const { values: flags } = parseArgs({
  options: {
    /** Approximate duration: a round that has begun is finished. */
    minutes: { type: 'string', default: '10' },
    seed: { type: 'string' },
    /** Runs only `chaos`, `wire` or `api`. */
    only: { type: 'string' },
    /** Size of a chaos round: the duration of its schedule, and the maximum duration of a network fault. */
    'round-ms': { type: 'string', default: '60000' },
    'fault-ms': { type: 'string', default: '45000' },
    /** Sizes of a round of the two fuzz runs. */
    connections: { type: 'string', default: '3000' },
    rounds: { type: 'string', default: '150' },
    /** Runs one round with exactly this seed. A failure prints a command with this flag. */
    replay: { type: 'boolean', default: false }
  }
})

const first = flags.seed === undefined ? freshSeed() : Number(flags.seed)
const seeds = new Random(first)
const until = performance.now() + Number(flags.minutes) * 60_000
const totals: Record<string, number> = {}

const kinds = {
  chaos: (seed: number) => runChaos({ seed, durationMs: Number(flags['round-ms']), maxFaultMs: Number(flags['fault-ms']) }),
  wire: (seed: number) => fuzzWire({ seed, connections: Number(flags.connections) }),
  api: (seed: number) => fuzzApi({ seed, rounds: Number(flags.rounds) })
} as const satisfies Record<string, (seed: number) => Promise<object>>
const names = Object.keys(kinds) as Array<keyof typeof kinds>
const chosen = names.filter((name) => flags.only === undefined || flags.only === name)
if (chosen.length === 0) throw new Error(`--only takes one of ${names.join(', ')}`)

process.stdout.write(`seed ${first}\n`)
try {
  do {
    for (const name of chosen) {
      const seed = flags.replay ? first : seeds.seed()
      const startedAt = performance.now()
      const result = await kinds[name](seed)
      for (const [field, count] of Object.entries(result)) totals[`${name} ${field}`] = (totals[`${name} ${field}`] ?? 0) + Number(count)
      process.stdout.write(`${name}, seed ${seed}, ${((performance.now() - startedAt) / 1000).toFixed(0)} s: ${JSON.stringify(result)}\n`)
    }
  } while (!flags.replay && performance.now() < until)
  process.stdout.write(`no invariant broke. In all: ${JSON.stringify(totals, null, 2)}\n`)
} catch (error) {
  if (!(error instanceof SoakFailure)) throw error
  process.stdout.write(`${error.message}\nuntil then: ${JSON.stringify(totals, null, 2)}\n`)
  process.exitCode = 1
}
