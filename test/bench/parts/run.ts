import { parseArgs } from 'node:util'
import { Peer } from '../rpc.js'
import { median } from '../stats.js'
import type { Part, Version } from './part.js'
import { parts } from './parts.js'
import type { PartHandlers } from './process.js'

// `npm run bench:parts`: hand-made parts of the library against their plain versions. See ../README.md.

const WARM_UP_ROUNDS = 3

const { values: flags, positionals: names } = parseArgs({
  allowPositionals: true,
  options: { rounds: { type: 'string', default: '11' } }
})
const rounds = Number(flags.rounds)

/** CPU time of each round, and memory, per operation and item. */
interface Measured {
  readonly nanos: number[]
  readonly bytes: number
}

async function measure (name: string, part: Part): Promise<Measured[]> {
  const versions = Object.keys(part.versions) as Version[]
  const peers: Array<Peer<PartHandlers>> = []
  try {
    const results: Array<Measured & { peer: Peer<PartHandlers> }> = []
    for (const version of versions) {
      const peer = new Peer<PartHandlers>(`${name} (${version})`, new URL('process.ts', import.meta.url), [], ['--expose-gc'])
      peers.push(peer)
      results.push({ peer, nanos: [], bytes: await peer.call('start', { name, version }) / part.items })
    }
    for (let round = -WARM_UP_ROUNDS; round < rounds; round++) {
      const checks: number[] = []
      for (const { peer, nanos } of results) {
        const { cpuMicros, check } = await peer.call('round', undefined)
        checks.push(check)
        if (round >= 0) nanos.push(cpuMicros * 1000 / part.operations)
      }
      if (new Set(checks).size > 1) throw new Error(`${name}: the versions have different results: ${checks.join(', ')}`)
    }
    return results
  } finally {
    await Promise.all(peers.map((peer) => peer.end()))
  }
}

function cells (name: string, { unit }: Part, [ours, plain]: Measured[]): string[] {
  const nanos = (measured: Measured | undefined): string => measured === undefined ? '' : median(measured.nanos).toFixed(0)
  const bytes = (measured: Measured | undefined): string => measured === undefined ? '' : measured.bytes.toFixed(0)
  const ratios = ours === undefined || plain === undefined ? [] : plain.nanos.map((value, round) => value / (ours.nanos[round] ?? NaN))
  const range = ratios.length === 0 ? '' : `${Math.min(...ratios).toFixed(2)} … ${Math.max(...ratios).toFixed(2)}`
  return [name, unit, nanos(ours), nanos(plain), ratios.length === 0 ? '' : median(ratios).toFixed(2), range, bytes(ours), bytes(plain)]
}

const unknown = names.find((name) => !(name in parts))
if (unknown !== undefined) throw new Error(`unknown row ${unknown}: the rows are ${Object.keys(parts).join(', ')}`)
const head = ['row', 'per', 'ns: ours', 'plain', 'plain / ours', 'range', 'bytes: ours', 'plain']
process.stdout.write(`| ${head.join(' | ')} |\n|${'---|'.repeat(head.length)}\n`)
for (const [name, part] of Object.entries(parts)) {
  if (names.length > 0 && !names.includes(name)) continue
  process.stdout.write(`| ${cells(name, part, await measure(name, part)).join(' | ')} |\n`)
}
