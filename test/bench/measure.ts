import type { LoadHandlers, OpenOptions } from './load/process.js'
import { Peer } from './rpc.js'
import type { Entry, Kind, Metric, Row } from './rows.js'
import type { ServerHandlers } from './servers/process.js'
import { isRecovery, measureRecovery } from './recovery/measure.js'
import { quantile } from './stats.js'

export type Sample = Partial<Record<Metric | 'generator', number>>

const SERVER = new URL('./servers/process.ts', import.meta.url)
const LOAD = new URL('./load/process.ts', import.meta.url)
/** Connections of the churn row that are in progress at a time. */
const CHURN_WIDTH = 32
/** Length of the warm-up round, relative to a normal one. */
const WARM_UP = 3

/** A contender's server and its load. */
class Pair {
  readonly entry: Entry
  readonly #server: Peer<ServerHandlers>
  readonly #load: Peer<LoadHandlers>
  #opens: OpenOptions | undefined

  constructor (entry: Entry, execArgv: readonly string[]) {
    this.entry = entry
    this.#server = new Peer(`server of ${entry.label}`, SERVER, [], execArgv)
    this.#load = new Peer(`load on ${entry.label}`, LOAD, [], [])
  }

  async listen (): Promise<void> {
    const { contender, compression = false, build = 'ai-canvas-ws', withoutHistory = false, sockets, sessions, subscriptions = 0, stalled = 0 } = this.entry
    const { port, ackPort } = await this.#server.call('listen', { name: contender, compression, build, withoutHistory })
    this.#opens = { contender, ports: [port], ackPort, sockets, deflate: compression, sessions, subscriptions, stalled }
  }

  async open (): Promise<void> {
    await this.#load.call('open', this.#open())
  }

  /** Runs warm-up rounds without results, so that the JIT compiler has seen all of the code and every session has had its first message. */
  async warmUp (): Promise<void> {
    const { plan, sessions } = this.entry
    if (plan === undefined) return
    await this.publish({ ...plan, ticks: Math.max(plan.ticks * WARM_UP, Math.ceil(sessions / plan.publicationsPerTick)) })
  }

  /** Runs one round of a plan. Throws if a message is missing, duplicated or out of order. */
  async publish (plan = this.entry.plan): Promise<Sample> {
    const { sockets, sessions, subscriptions = 0, label } = this.entry
    if (plan === undefined) throw new Error(`${label} has no plan`)
    const readers = subscriptions > 0 ? 1 : sockets / sessions
    const messagesPerTick = plan.publicationsPerTick * readers
    await this.#load.call('expect', { messagesPerTick })
    const usage = await this.#server.call('publish', { ...plan, sessions })
    const received = await this.#load.call('received', undefined)
    const expected = messagesPerTick * plan.ticks
    const spread = sessions === 1 ? 0 : Math.max(1, subscriptions)
    if (received.messages !== expected) throw new Error(`${label}: ${received.messages} of ${expected} messages arrived`)
    if (received.most - received.fewest > spread) throw new Error(`${label}: one socket got ${received.fewest} messages and another ${received.most}`)
    if (received.disordered > 0) throw new Error(`${label}: ${received.disordered} messages were duplicated or out of order`)
    return {
      cpu: usage.cpuMicros / expected,
      rate: expected / usage.wallMicros * 1e6,
      p50: quantile(received.latencies, 0.5),
      p99: quantile(received.latencies, 0.99),
      rss: usage.peakRssBytes,
      waiting: usage.peakWaitingBytes,
      generator: received.cpuMicros / expected
    }
  }

  async churn (): Promise<Sample> {
    const before = await this.#server.call('cpu', undefined)
    const count = this.entry.sockets
    const { wallMicros, cpuMicros } = await this.#load.call('churn', { ...this.#open(), count, width: CHURN_WIDTH })
    const after = await this.#server.call('cpu', undefined)
    return { cpu: (after - before) / count, rate: count / wallMicros * 1e6, generator: cpuMicros / count }
  }

  /** Returns the memory per connection. An entry with a plan sends a compressed message first. */
  async memory (): Promise<Sample> {
    const { sockets, plan } = this.entry
    const before = await this.#server.call('memory', undefined)
    await this.open()
    if (plan !== undefined) await this.#load.call('compressedPing', undefined)
    const after = await this.#server.call('memory', undefined)
    return {
      rss: (after.rssBytes - before.rssBytes) / sockets,
      heap: (after.heapBytes + after.externalBytes - before.heapBytes - before.externalBytes) / sockets
    }
  }

  async end (): Promise<void> {
    await Promise.all([this.#server.end(), this.#load.end()])
  }

  #open (): OpenOptions {
    if (this.#opens === undefined) throw new Error('call listen first')
    return this.#opens
  }
}

export interface MeasureOptions {
  readonly rounds: number
  /** Options for the servers' processes. */
  readonly execArgv: readonly string[]
  readonly progress: (text: string) => void
}

/** Runs a row round by round, with all entries in each round. Returns each entry's samples, one per round. */
export async function measure (row: Row, options: MeasureOptions): Promise<Map<string, Sample[]>> {
  if (isRecovery(row)) return await inFreshProcesses(row, options, (entry) => measureRecovery(row.kind, entry, options.execArgv))
  return row.kind === 'publish' || row.kind === 'churn' ? await inStandingProcesses(row, options) : await inFreshProcesses(row, options, (entry) => freshSample(row.kind, entry, options.execArgv))
}

async function inStandingProcesses ({ kind, entries }: Row, { rounds, execArgv, progress }: MeasureOptions): Promise<Map<string, Sample[]>> {
  const samples = new Map<string, Sample[]>(entries.map(({ label }) => [label, []]))
  const pairs: Pair[] = []
  try {
    for (const entry of entries) {
      progress(`${entry.label}: connecting`)
      const pair = new Pair(entry, execArgv)
      pairs.push(pair)
      await pair.listen()
      if (kind === 'publish') await pair.open()
    }
    for (const pair of pairs) {
      progress(`${pair.entry.label}: warming up`)
      await (kind === 'publish' ? pair.warmUp() : pair.churn())
    }
    for (let round = 0; round < rounds; round++) {
      for (const pair of pairs) {
        progress(`round ${round + 1} of ${rounds}: ${pair.entry.label}`)
        const sample = kind === 'publish' ? await pair.publish() : await pair.churn()
        samples.get(pair.entry.label)?.push(sample)
      }
    }
  } finally {
    await Promise.all(pairs.map((pair) => pair.end()))
  }
  return samples
}

/** Takes each sample in new processes. Used for memory, because a process's memory depends on everything that it did before. */
async function inFreshProcesses (
  { entries }: Row, { rounds, progress }: MeasureOptions, sample: (entry: Entry) => Promise<Sample>
): Promise<Map<string, Sample[]>> {
  const samples = new Map<string, Sample[]>(entries.map(({ label }) => [label, []]))
  for (let round = 0; round < rounds; round++) {
    for (const entry of entries) {
      progress(`round ${round + 1} of ${rounds}: ${entry.label}`)
      samples.get(entry.label)?.push(await sample(entry))
    }
  }
  return samples
}

async function freshSample (kind: Kind, entry: Entry, execArgv: readonly string[]): Promise<Sample> {
  const pair = new Pair(entry, ['--expose-gc', ...execArgv])
  try {
    await pair.listen()
    if (kind !== 'stalled') return await pair.memory()
    await pair.open()
    return await pair.publish()
  } finally {
    await pair.end()
  }
}
