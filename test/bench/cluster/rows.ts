import type { Target } from '../rows.js'
import type { Columns } from '../report.js'
import { fixed, millis, whole } from '../report.js'

// The rows about several nodes, and their targets.

export type ClusterKind = 'ticks' | 'rate' | 'idle' | 'stream' | 'blips'

export interface ClusterEntry {
  /** `ours`, `baseline`, or the name of a contender. */
  readonly label: string
  readonly contender: string
  /** URL of the directory of a build of ours. */
  readonly build: string
}

export interface ClusterRow {
  readonly name: string
  readonly title: string
  readonly kind: ClusterKind
  readonly contenders: readonly string[]
  readonly sockets: number
  /** Socket `i` subscribes to session `i % sessions`. */
  readonly sessions: number
  /** How many of the nodes publish, from the first. */
  readonly publishers: number
  /** How many of the nodes have sockets, from the first: socket `i` is connected to node `i % servers`. */
  readonly servers: number
  /** `ticks`: the messages of a tick, and the ticks of a round. */
  readonly publicationsPerTick?: number
  readonly ticks?: number
  /** Other kinds: interval of the messages to each session, and their number in a round. */
  readonly everyMs?: number
  readonly times?: number
  readonly targets: readonly Target[]
}

/** The nodes of each contender. */
export const NODES = 3

const CONTENDERS = ['ours', 'streams-adapter', 'redis-adapter']
const WITH_FLOOR = [...CONTENDERS, 'floor']
const EVERYWHERE = { servers: NODES, publishers: NODES }
const FROM_ONE = { servers: NODES, publishers: 1 }

const LATENCY = [
  { against: 'redis-adapter', metric: 'p50', atMost: 1 },
  { against: 'redis-adapter', metric: 'p99', atMost: 1 }
] as const

/** Returns targets for the CPU time per delivered message of all nodes and Redis: at most this share of each adapter's. */
function cpu (streams: number, redis?: number): Target[] {
  return [
    { against: 'streams-adapter', metric: 'cpu', atMost: streams },
    { against: 'redis-adapter', metric: 'cpu', ...(redis !== undefined && { atMost: redis }) }
  ]
}

/** What a node that keeps its messages in Redis can reach at best. */
const FLOOR = [
  { of: 'floor', against: 'streams-adapter', metric: 'cpu' },
  { of: 'floor', against: 'redis-adapter', metric: 'cpu' },
  { of: 'floor', against: 'redis-adapter', metric: 'p50' },
  { of: 'floor', against: 'redis-adapter', metric: 'p99' }
] as const

export function clusterRows (quick: boolean): ClusterRow[] {
  const fanOut = { kind: 'ticks', contenders: CONTENDERS, sockets: quick ? 120 : 1_000, sessions: 1, ...FROM_ONE } as const
  const many = quick ? 300 : 10_000
  return [
    {
      ...fanOut,
      name: 'cluster-fan-out',
      title: 'sockets of one session on three nodes, one message a tick',
      publicationsPerTick: 1,
      ticks: quick ? 20 : 80,
      targets: [...cpu(0.75, 0.75), ...LATENCY]
    },
    {
      ...fanOut,
      name: 'cluster-fan-out-10',
      title: 'the same, ten messages a tick',
      publicationsPerTick: 10,
      ticks: quick ? 5 : 20,
      targets: [...cpu(0.4, 0.4), ...LATENCY]
    },
    {
      name: 'cluster-sessions',
      title: '1,000 messages a second over 200 sessions of five sockets',
      kind: 'rate',
      contenders: WITH_FLOOR,
      sockets: quick ? 100 : 1_000,
      sessions: quick ? 20 : 200,
      ...EVERYWHERE,
      everyMs: 200,
      times: quick ? 5 : 40,
      targets: [...cpu(1, 1), ...LATENCY, ...FLOOR]
    },
    {
      name: 'cluster-stream',
      title: '200 jobs stream text, ten pieces a second, to five tabs each',
      kind: 'stream',
      contenders: WITH_FLOOR,
      sockets: quick ? 100 : 1_000,
      sessions: quick ? 20 : 200,
      ...EVERYWHERE,
      everyMs: 100,
      times: quick ? 10 : 80,
      targets: [...cpu(1), ...LATENCY, ...FLOOR]
    },
    {
      name: 'cluster-idle',
      title: `a node without sockets, while ${many.toLocaleString('en')} sessions on two others get a message each`,
      kind: 'idle',
      contenders: CONTENDERS,
      sockets: many,
      sessions: many,
      servers: NODES - 1,
      publishers: NODES - 1,
      everyMs: quick ? 1_000 : 10_000,
      times: 1,
      targets: [{ metric: 'idle', atMost: 3 }, { of: 'streams-adapter', metric: 'idle' }, { of: 'redis-adapter', metric: 'idle' }]
    },
    {
      name: 'cluster-blips',
      title: 'clients get ten messages a second, lose their connection at random, and return to any node',
      kind: 'blips',
      contenders: ['ours', 'streams-adapter'],
      sockets: quick ? 60 : 500,
      sessions: 1,
      ...FROM_ONE,
      everyMs: 100,
      times: quick ? 40 : 300,
      targets: [
        { metric: 'delivered', atLeast: 100 },
        { metric: 'doubles', atMost: 0 },
        { of: 'streams-adapter', metric: 'delivered' },
        { of: 'streams-adapter', metric: 'doubles' },
        { against: 'streams-adapter', metric: 'cpu' }
      ]
    }
  ]
}

const CPU = [['cpu', 'CPU of nodes and Redis, µs a message', fixed(2)], ['redis', 'of that, Redis', fixed(2)]] as const
const TIMES = [['p50', 'p50 ms', millis], ['p99', 'p99 ms', millis]] as const
const RATE = [['rate', 'delivered/s', whole], ['generator', 'generator CPU, µs', fixed(2)]] as const

export const clusterColumns: Record<ClusterKind, Columns> = {
  ticks: [...CPU, ...TIMES, ...RATE],
  rate: [...CPU, ...TIMES, ...RATE],
  idle: [['idle', 'CPU of the idle node, % of a core', fixed(2)], ...CPU, ...TIMES],
  stream: [...CPU, ...TIMES, ['rate', 'delivered/s', whole]],
  blips: [['delivered', 'delivered, %', fixed(3)], ['doubles', 'doubles', whole], ['cuts', 'connections cut', whole], ...CPU, ...TIMES]
}
