import type { Sample } from '../measure.js'
import { Peer } from '../rpc.js'
import type { Entry, Kind, Row } from '../rows.js'
import { quantile } from '../stats.js'
import type { RecoveryLoadHandlers } from './load.js'
import type { RecoveryServerHandlers } from './process.js'

const SERVER = new URL('./process.ts', import.meta.url)
const LOAD = new URL('./load.ts', import.meta.url)

const MESSAGE_INTERVAL_MS = 500
const BLIPS = { everyMs: 15_000, awayMs: 2_000, each: 1 }
const TAB_CUTS = { everyMs: 10_000, awayMs: 1_000, each: 5 }
const BEHIND = 50
const RETURN_WITHIN_MS = 1_000
const TOKENS_PER_SECOND = 100
const CEILING_BYTES = 64 * 1024 * 1024
/** Timeout for the last messages. */
const SETTLE_MS = 20_000

type RecoveryKind = Extract<Kind, 'blips' | 'herd' | 'ceiling' | 'stream'>

interface Both {
  readonly entry: Entry
  readonly server: Peer<RecoveryServerHandlers>
  readonly load: Peer<RecoveryLoadHandlers>
}

const scenarios: Record<RecoveryKind, (both: Both) => Promise<Sample>> = { blips, herd, ceiling, stream }

export function isRecovery (row: Row): row is Row & { kind: RecoveryKind } {
  return row.kind in scenarios
}

/** Runs one round in its own processes. Throws if ours loses something. */
export async function measureRecovery (kind: RecoveryKind, entry: Entry, execArgv: readonly string[]): Promise<Sample> {
  const server = new Peer<RecoveryServerHandlers>(`server of ${entry.label}`, SERVER, [], ['--expose-gc', ...execArgv])
  const load = new Peer<RecoveryLoadHandlers>(`load on ${entry.label}`, LOAD, [], [])
  try {
    const port = await server.call('listen', { name: entry.contender })
    const { contender, sockets, sessions } = entry
    await load.call('follow', { contender, ports: [port], clients: sockets, sessions, text: kind === 'stream' })
    const sample = await scenarios[kind]({ entry, server, load })
    const { delivered = 100, doubles = 0 } = sample
    if (contender === 'ours' && (delivered < 100 || doubles > 0)) {
      throw new Error(`${entry.label}: ${delivered} % arrived, and ${doubles} messages were duplicates`)
    }
    return sample
  } finally {
    await Promise.all([server.end(), load.end()])
  }
}

async function blips ({ entry: { sockets, seconds = 60 }, server, load }: Both): Promise<Sample> {
  const count = seconds * 1000 / MESSAGE_INTERVAL_MS
  await server.call('watch', { stalls: false })
  const cutting = load.call('cut', { ...BLIPS, forMs: seconds * 1000 })
  const last = await server.call('publishEvery', { intervalMs: MESSAGE_INTERVAL_MS, count })
  const { cpuMicros } = await server.call('watched', undefined)
  await cutting
  const { messages, doubles, latencies } = await load.call('delivered', { last, timeoutMs: SETTLE_MS })
  return {
    delivered: 100 * messages / (count * sockets), doubles, cpu: cpuMicros / messages,
    p50: quantile(latencies, 0.5), p99: quantile(latencies, 0.99)
  }
}

async function herd ({ entry: { sockets }, server, load }: Both): Promise<Sample> {
  // Every client must have received a message, because otherwise Socket.IO could recover none.
  const first = await server.call('publishEvery', { intervalMs: 0, count: 1 })
  await load.call('delivered', { last: first, timeoutMs: SETTLE_MS })
  await load.call('cutAll', undefined)
  await server.call('connections', { count: 0, timeoutMs: SETTLE_MS })
  const last = await server.call('publishEvery', { intervalMs: 0, count: BEHIND })
  await server.call('watch', { stalls: true })
  const { tailMicros } = await load.call('returnAll', { withinMs: RETURN_WITHIN_MS, last })
  const { cpuMicros, stallMicros } = await server.call('watched', undefined)
  const { messages, doubles } = await load.call('delivered', { last, timeoutMs: 0 })
  return { delivered: 100 * messages / (BEHIND * sockets), doubles, cpu: cpuMicros, stall: stallMicros, tail: tailMicros }
}

async function ceiling ({ entry: { sessions }, server }: Both): Promise<Sample> {
  const { mostBytes, heapBytes } = await server.call('fill', { bytes: 10 * CEILING_BYTES, messageBytes: 4096, sessions })
  return { history: mostBytes, heap: heapBytes }
}

async function stream ({ entry: { sessions, sockets, seconds = 30 }, server, load }: Both): Promise<Sample> {
  await server.call('watch', { stalls: false })
  const cutting = load.call('cut', { ...TAB_CUTS, forMs: seconds * 1000 })
  const produced = await server.call('stream', { jobs: sessions, tokensPerSecond: TOKENS_PER_SECOND, seconds })
  await cutting
  const { digests, latencies } = await load.call('texts', { timeoutMs: SETTLE_MS })
  const { cpuMicros } = await server.call('watched', undefined)
  const whole = digests.filter((digest, at) => digest === produced.digests[at % sessions]).length
  return {
    delivered: 100 * whole / sockets, cpu: cpuMicros / (TOKENS_PER_SECOND * seconds * sockets),
    p50: quantile(latencies, 0.5), p99: quantile(latencies, 0.99)
  }
}
