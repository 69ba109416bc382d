import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'
import type { Sample } from '../measure.js'
import { reportOf, verdictTable, type Verdict } from '../report.js'
import { Cluster, measureCluster } from './measure.js'
import { clusterColumns, clusterRows, type ClusterEntry, type ClusterRow } from './rows.js'

// `npm run bench:cluster`: three nodes and one Redis. See ../README.md.

const { values: flags, positionals: names } = parseArgs({
  allowPositionals: true,
  options: {
    /** Uses few sockets and one round, which shows in less than a minute that everything works. */
    quick: { type: 'boolean', default: false },
    rounds: { type: 'string' },
    /** Only these contenders, such as `ours,streams-adapter`. */
    only: { type: 'string' },
    /** The directory of a build to use as ours, and of another one to compare it with. */
    build: { type: 'string', default: 'dist' },
    baseline: { type: 'string' },
    /** Writes a CPU profile of each node to this directory. */
    profile: { type: 'string' }
  }
})
/** A contender whose round takes this much longer than planned has not kept up. */
const LATE_MS = 500

const rounds = Number(flags.rounds ?? (flags.quick ? 1 : 5))
const only = flags.only?.split(',')
const [build = '', baseline] = [flags.build, flags.baseline].map((path) => path && pathToFileURL(resolve(path)).href)

const rows = clusterRows(flags.quick)
const unknown = names.find((name) => !rows.some((row) => row.name === name))
if (unknown !== undefined) throw new Error(`unknown row ${unknown}: the rows are ${rows.map(({ name }) => name).join(', ')}`)

const progress = (text: string): void => { if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${text}`) }

/** Starts the contenders that some rows need. */
async function start (rows: readonly ClusterRow[]): Promise<Cluster[]> {
  const execArgv = flags.profile === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${flags.profile}`]
  const entries: ClusterEntry[] = [...new Set(rows.flatMap(({ contenders }) => contenders))].filter((name) => only?.includes(name) ?? true).map((name) => ({ label: name, contender: name, build }))
  if (baseline !== undefined) entries.push({ label: 'baseline', contender: 'ours', build: baseline })
  const clusters: Cluster[] = []
  try {
    for (const entry of entries) clusters.push(await Cluster.start(entry, execArgv))
    return clusters
  } catch (error) {
    await end(clusters)
    throw error
  }
}

async function end (clusters: readonly Cluster[]): Promise<void> {
  await Promise.all(clusters.map((cluster) => cluster.end()))
}

/**
 * Returns a note about the contenders that did not keep up with the rate. Their messages are queued and sent together, which takes
 * less CPU time per message, so the ratios are not valid.
 */
function behind ({ kind, sockets, everyMs, times = 0 }: ClusterRow, samples: ReadonlyMap<string, readonly Sample[]>): string {
  if (everyMs === undefined || kind === 'blips') return ''
  const latestMs = everyMs * times + LATE_MS
  return [...samples].map(([label, rounds]) => {
    const slow = rounds.filter(({ rate = NaN }) => sockets * times / rate * 1000 > latestMs).length
    return slow === 0 ? '' : `\n**${label} did not keep up in ${slow} of ${rounds.length} rounds: the machine was too busy, and the ratios are not valid.**\n`
  }).join('')
}

async function measure (row: ClusterRow, all: readonly Cluster[]): Promise<Verdict[]> {
  const clusters = all.filter(({ label }) => label === 'baseline' || row.contenders.includes(label))
  const labels = new Set(clusters.map(({ label }) => label))
  const targets = [...row.targets, { against: 'baseline', metric: 'cpu' } as const]
    .filter(({ of: subject = 'ours', against = subject }) => labels.has(subject) && labels.has(against))
  const samples = await measureCluster(row, { clusters, rounds, progress: (text) => { progress(`${row.name}, ${text}`) } })
  progress('')
  const { text, verdicts } = reportOf({ ...row, entries: clusters, targets, columns: clusterColumns[row.kind] }, samples)
  process.stdout.write(text + behind(row, samples))
  const command = `\`npm run bench:cluster -- ${flags.quick ? '--quick ' : ''}--rounds ${rounds} ${row.name}\``
  return verdicts.map((verdict) => ({ ...verdict, command }))
}

const verdicts: Verdict[] = []
const chosen = rows.filter(({ name }) => names.length === 0 || names.includes(name))
// Starting the processes takes most of a quick run, so all its rows share them. Otherwise each row has fresh ones.
const shared = flags.quick ? await start(chosen) : undefined
try {
  for (const row of chosen) {
    const clusters = shared ?? await start([row])
    try {
      verdicts.push(...await measure(row, clusters))
    } finally {
      if (shared === undefined) await end(clusters)
    }
  }
} finally {
  await end(shared ?? [])
}
process.stdout.write(`\n## All ratios\n\n${verdictTable(verdicts)}`)
