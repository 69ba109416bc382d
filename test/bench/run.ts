import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'
import { measure } from './measure.js'
import { report, verdictTable, type Verdict } from './report.js'
import { rows, withBuilds, type Kind } from './rows.js'

// `npm run bench`: see README.md.

const ROUNDS: Record<Kind, number> = { publish: 11, churn: 7, stalled: 3, memory: 3, blips: 1, herd: 5, ceiling: 1, stream: 3 }
const QUICK_ROUNDS: Record<Kind, number> = { publish: 5, churn: 3, stalled: 1, memory: 1, blips: 1, herd: 1, ceiling: 1, stream: 1 }

const { values: flags, positionals: names } = parseArgs({
  allowPositionals: true,
  options: {
    /** Uses fewer sockets and rounds, which is enough to show that everything works and to see the large ratios. */
    quick: { type: 'boolean', default: false },
    rounds: { type: 'string' },
    /** Only these contenders, such as `ours,floor`. */
    only: { type: 'string' },
    /** The `index.js` of a build to use as ours, and of another one to compare it with. */
    build: { type: 'string' },
    baseline: { type: 'string' },
    /** Writes a CPU profile of each server process to this directory. */
    profile: { type: 'string' }
  }
})

const [build, baseline] = [flags.build, flags.baseline].map((path) => path && pathToFileURL(resolve(path)).href)
const all = rows(flags.quick).map((row) => withBuilds(row, build, baseline))
const unknown = names.find((name) => !all.some((row) => row.name === name))
if (unknown !== undefined) throw new Error(`unknown row ${unknown}: the rows are ${all.map(({ name }) => name).join(', ')}`)

const verdicts: Verdict[] = []
for (const row of all.filter(({ name }) => names.length === 0 || names.includes(name))) {
  const only = flags.only?.split(',')
  const entries = row.entries.filter(({ contender }) => only === undefined || only.includes(contender))
  const labels = new Set(entries.map(({ label }) => label))
  const targets = row.targets.filter(({ of: subject = 'ours', against = subject }) => labels.has(subject) && labels.has(against))
  const chosen = { ...row, entries, targets }
  const samples = await measure(chosen, {
    rounds: Number(flags.rounds ?? (flags.quick ? QUICK_ROUNDS : ROUNDS)[row.kind]),
    execArgv: flags.profile === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${flags.profile}`],
    progress: (text) => { if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${row.name}, ${text}`) }
  })
  if (process.stderr.isTTY) process.stderr.write('\r\x1b[K')
  const { text, verdicts: reached } = report(chosen, samples)
  process.stdout.write(text)
  verdicts.push(...reached)
}
process.stdout.write(`\n## All ratios\n\n${verdictTable(verdicts)}`)
