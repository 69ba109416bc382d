import { setTimeout as sleep } from 'node:timers/promises'
import { RedisServer } from '../../support/redis-server.js'
import type { LoadHandlers, Received } from '../load/process.js'
import type { Sample } from '../measure.js'
import type { RecoveryLoadHandlers } from '../recovery/load.js'
import { Peer } from '../rpc.js'
import { quantile } from '../stats.js'
import type { NodeHandlers, Rate } from './node.js'
import { NODES, type ClusterEntry, type ClusterKind, type ClusterRow } from './rows.js'

const NODE = new URL('./node.ts', import.meta.url)
const LOAD = new URL('../load/process.ts', import.meta.url)
const RECOVERY_LOAD = new URL('../recovery/load.ts', import.meta.url)

/** Length of the warm-up round, relative to a normal one. */
const WARM_UP_TICKS = 3
/** Each client is disconnected at this interval, with a random phase. */
const CUTS = { everyMs: 4_000, awayMs: 500, each: 1 }
const SETTLE_MS = 30_000
/** Time within which a duplicate that travels through Redis has arrived. */
const SURPLUS_MS = 100

interface Usage {
  /** CPU time of each node, in microseconds. */
  readonly nodes: readonly number[]
  readonly redis: number
  readonly at: number
}

/** A contender's nodes and their Redis server. */
export class Cluster {
  readonly label: string
  /** Dialect of the contender's clients. */
  readonly dialect: string
  readonly nodes: ReadonlyArray<Peer<NodeHandlers>>
  readonly #entry: ClusterEntry
  readonly #redis: RedisServer
  ports: readonly number[] = []
  ackPort = 0

  private constructor (entry: ClusterEntry, redis: RedisServer, execArgv: readonly string[]) {
    this.#entry = entry
    this.label = entry.label
    this.dialect = entry.contender.endsWith('adapter') ? 'socket.io' : 'ours'
    this.#redis = redis
    this.nodes = Array.from({ length: NODES }, (_, at) => new Peer<NodeHandlers>(`node ${at} of ${entry.label}`, NODE, [], execArgv))
  }

  /** @param execArgv Options for the nodes' processes. */
  static async start (entry: ClusterEntry, execArgv: readonly string[]): Promise<Cluster> {
    const cluster = new Cluster(entry, await RedisServer.start(), execArgv)
    try {
      await cluster.#listen()
      return cluster
    } catch (error) {
      await cluster.end()
      throw error
    }
  }

  async #listen (): Promise<void> {
    const { contender, build } = this.#entry
    const listening = await Promise.all(this.nodes.map((node) => node.call('listen', { name: contender, build, redisPort: this.#redis.port })))
    this.ports = listening.map(({ port }) => port)
    this.ackPort = listening[0]?.ackPort ?? 0
  }

  /** Waits until all clients are disconnected, so that this work does not fall into another contender's round. */
  async emptied (): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.call('connections', { count: 0, timeoutMs: SETTLE_MS })))
  }

  async usage (): Promise<Usage> {
    const [info, ...nodes] = await Promise.all([this.#redis.command('INFO', 'cpu'), ...this.nodes.map((node) => node.call('cpu', undefined))])
    const seconds = ['user', 'sys'].map((kind) => Number(new RegExp(`^used_cpu_${kind}:(.*)`, 'm').exec(String(info))?.[1]))
    return { nodes, redis: seconds.reduce((sum, part) => sum + part, 0) * 1e6, at: performance.now() }
  }

  async end (): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.end()))
    await this.#redis.stop()
  }
}

/** One contender in a row. */
class Trial {
  readonly #row: ClusterRow
  readonly #cluster: Cluster
  /** The clients of the row: either ones whose messages are counted, or ones that reconnect and keep text. One of the two is set. */
  readonly #load: Peer<LoadHandlers> | undefined
  readonly #recoveryLoad: Peer<RecoveryLoadHandlers> | undefined
  #rounds = 0

  constructor (row: ClusterRow, cluster: Cluster) {
    this.#row = row
    this.#cluster = cluster
    const name = `load on ${cluster.label}`
    if (row.kind === 'stream' || row.kind === 'blips') this.#recoveryLoad = new Peer<RecoveryLoadHandlers>(name, RECOVERY_LOAD, [], [])
    else this.#load = new Peer<LoadHandlers>(name, LOAD, [], [])
  }

  async open (): Promise<void> {
    const { sockets, sessions, servers, publishers } = this.#row
    const { dialect, ports, ackPort } = this.#cluster
    await this.#load?.call('open', {
      contender: dialect, ports: ports.slice(0, servers), ackPort, publishers, sockets, sessions, prefix: this.#prefix(),
      deflate: false, subscriptions: 0, stalled: 0
    })
  }

  /** Runs a round without results, so that the JIT compiler has seen all of the code. */
  async warmUp (): Promise<void> {
    const { kind, ticks = 0 } = this.#row
    if (kind === 'ticks') await this.#ticks(ticks * WARM_UP_TICKS)
    else if (kind !== 'blips') await this.round()
  }

  /** Runs one round. Throws if a message is missing, duplicated or out of order. */
  async round (): Promise<Sample> {
    const rounds: Record<ClusterKind, () => Promise<Sample>> = {
      ticks: () => this.#ticks(this.#row.ticks ?? 0),
      rate: () => this.#rate(),
      idle: () => this.#rate(),
      stream: () => this.#stream(),
      blips: () => this.#blips()
    }
    return await rounds[this.#row.kind]()
  }

  async end (): Promise<void> {
    await Promise.all([this.#load?.end(), this.#recoveryLoad?.end()])
  }

  async #ticks (ticks: number): Promise<Sample> {
    const { sockets, publicationsPerTick = 1 } = this.#row
    return await this.#counted(publicationsPerTick * ticks, publicationsPerTick * sockets, async () => {
      await this.#cluster.nodes[0]!.call('ticks', { sessionId: `${this.#prefix()}0`, publicationsPerTick, ticks })
    })
  }

  async #rate (): Promise<Sample> {
    const { sockets, times = 0 } = this.#row
    return await this.#counted(times, times * sockets, async () => {
      await Promise.all([
        this.#cluster.nodes[0]!.call('acknowledged', { timeoutMs: this.#durationMs() + SETTLE_MS }),
        ...this.#publishers((node, rate) => node.call('publish', rate))
      ])
    })
  }

  /** @param each Messages to each socket. @param acknowledged Messages to all sockets, after which the load sends an acknowledgement. */
  async #counted (each: number, acknowledged: number, publish: () => Promise<void>): Promise<Sample> {
    const load = this.#load!
    await load.call('expect', { messagesPerTick: acknowledged })
    const before = await this.#cluster.usage()
    await publish()
    const after = await this.#cluster.usage()
    await sleep(SURPLUS_MS)
    const received = await load.call('received', undefined)
    this.#check(received, each)
    return {
      ...cost(before, after, received.messages), ...times(received.latencies), idle: idleShare(before, after),
      generator: received.cpuMicros / received.messages
    }
  }

  #check ({ messages, fewest, most, disordered }: Received, each: number): void {
    const expected = each * this.#row.sockets
    if (messages !== expected) throw new Error(`${this.#cluster.label}: ${messages} of ${expected} messages arrived`)
    if (fewest !== most) throw new Error(`${this.#cluster.label}: one socket got ${fewest} messages and another ${most}`)
    if (disordered > 0) throw new Error(`${this.#cluster.label}: ${disordered} messages were duplicated or out of order`)
  }

  async #stream (): Promise<Sample> {
    const { sockets, sessions, times: pieces = 0 } = this.#row
    return await this.#followed({ text: true }, async (load) => {
      const before = await this.#cluster.usage()
      const produced = Object.assign({}, ...await Promise.all(this.#publishers((node, rate) => node.call('stream', rate)))) as Record<string, string>
      const { digests, latencies } = await load.call('texts', { timeoutMs: SETTLE_MS })
      const after = await this.#cluster.usage()
      const whole = digests.filter((digest, at) => digest === produced[this.#prefix() + String(at % sessions)]).length
      if (whole !== sockets) throw new Error(`${this.#cluster.label}: ${whole} of ${sockets} tabs have the whole text`)
      return { ...cost(before, after, pieces * sockets), ...times(latencies) }
    })
  }

  async #blips (): Promise<Sample> {
    const { sockets, times: count = 0 } = this.#row
    return await this.#followed({ text: false }, async (load) => {
      const before = await this.#cluster.usage()
      const cutting = load.call('cut', { ...CUTS, forMs: this.#durationMs() })
      const [last] = await Promise.all([...this.#publishers((node, rate) => node.call('publish', rate)), cutting])
      const { messages, doubles, cuts, latencies } = await load.call('delivered', { last: last!, timeoutMs: SETTLE_MS })
      const after = await this.#cluster.usage()
      const delivered = 100 * messages / (count * sockets)
      if (this.#cluster.dialect === 'ours' && (delivered < 100 || doubles > 0)) {
        throw new Error(`${this.#cluster.label}: ${delivered} % arrived, and ${doubles} messages were duplicates`)
      }
      return { ...cost(before, after, messages), ...times(latencies), delivered, doubles, cuts }
    })
  }

  /** Runs a round with its own clients, which subscribe to sessions that are new in this round. */
  async #followed (options: { text: boolean }, round: (load: Peer<RecoveryLoadHandlers>) => Promise<Sample>): Promise<Sample> {
    const { sockets: clients, sessions, publishers } = this.#row
    const { dialect, ports } = this.#cluster
    const load = this.#recoveryLoad!
    this.#rounds++
    await load.call('follow', { ...options, contender: dialect, ports, publishers, clients, sessions, prefix: this.#prefix() })
    const sample = await round(load)
    await load.call('cutAll', undefined)
    await this.#cluster.emptied()
    return sample
  }

  #prefix (): string {
    return `${this.#row.name}-${this.#rounds}-`
  }

  #durationMs (): number {
    const { everyMs = 0, times: count = 0 } = this.#row
    return everyMs * count
  }

  #publishers<T> (call: (node: Peer<NodeHandlers>, rate: Rate) => Promise<T>): Array<Promise<T>> {
    const { sessions, publishers, everyMs = 0, times: count = 0 } = this.#row
    return this.#cluster.nodes.slice(0, publishers).map((node, index) => call(node, { prefix: this.#prefix(), sessions, publishers, index, everyMs, times: count }))
  }
}

function cost (before: Usage, after: Usage, messages: number): Sample {
  const redis = after.redis - before.redis
  const nodes = after.nodes.reduce((sum, micros, at) => sum + micros - before.nodes[at]!, 0)
  return { cpu: (nodes + redis) / messages, redis: redis / messages, rate: messages / (after.at - before.at) * 1000 }
}

/** Returns the CPU time of the last node, in percent of a core. */
function idleShare (before: Usage, after: Usage): number {
  return (after.nodes.at(-1)! - before.nodes.at(-1)!) / (after.at - before.at) / 10
}

function times (latencies: readonly number[]): Sample {
  return { p50: quantile(latencies, 0.5), p99: quantile(latencies, 0.99) }
}

export interface MeasureClusterOptions {
  /** The contenders, without connections. */
  readonly clusters: readonly Cluster[]
  readonly rounds: number
  readonly progress: (text: string) => void
}

/** Runs a row round by round, with all contenders in each round. Returns the samples of each, one per round. */
export async function measureCluster (row: ClusterRow, { clusters, rounds, progress }: MeasureClusterOptions): Promise<Map<string, Sample[]>> {
  const samples = new Map<string, Sample[]>(clusters.map(({ label }) => [label, []]))
  const trials = clusters.map((cluster) => ({ label: cluster.label, trial: new Trial(row, cluster) }))
  try {
    for (const { label, trial } of trials) {
      progress(`${label}: connecting`)
      await trial.open()
    }
    for (const { label, trial } of trials) {
      progress(`${label}: warming up`)
      await trial.warmUp()
    }
    for (let round = 0; round < rounds; round++) {
      for (const { label, trial } of trials) {
        progress(`round ${round + 1} of ${rounds}: ${label}`)
        samples.get(label)?.push(await trial.round())
      }
    }
  } finally {
    await Promise.all(trials.map(({ trial }) => trial.end()))
  }
  await Promise.all(clusters.map((cluster) => cluster.emptied()))
  return samples
}
