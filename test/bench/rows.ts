import { recoveryRows } from './recovery/rows.js'
import type { Plan } from './servers/process.js'

// The measured rows and their targets.

export type Metric =
  | 'cpu' | 'rate' | 'p50' | 'p99' | 'rss' | 'heap' | 'waiting'
  | 'delivered' | 'doubles' | 'stall' | 'tail' | 'history'
  | 'redis' | 'idle' | 'cuts'

export type Kind = 'publish' | 'stalled' | 'churn' | 'memory' | 'blips' | 'herd' | 'ceiling' | 'stream'

/** One entry of a comparison: a contender under certain conditions. */
export interface Entry {
  /** `ours`, or the name of a contender. */
  readonly label: string
  readonly contender: string
  readonly compression?: boolean
  /** The file from which another build of ours is imported. */
  readonly build?: string
  readonly sockets: number
  /** The sockets are distributed over this number of sessions. */
  readonly sessions: number
  /** Instead, each socket subscribes to this number of sessions of its own. */
  readonly subscriptions?: number
  readonly stalled?: number
  readonly plan?: Omit<Plan, 'sessions'>
  /** Ours without history. */
  readonly withoutHistory?: boolean
  /** The duration of a round of the recovery rows. */
  readonly seconds?: number
}

/** The first entry's metric divided by another's, as the median of the rounds. Without another, the metric itself. */
export interface Target {
  readonly of?: string
  readonly against?: string
  /** Whether the other metric is subtracted instead of divided. Used for memory. */
  readonly minus?: boolean
  readonly metric: Metric
  readonly atMost?: number
  readonly atLeast?: number
}

export interface Row {
  readonly name: string
  readonly title: string
  readonly kind: Kind
  readonly entries: readonly Entry[]
  readonly targets: readonly Target[]
}

const CONTENDERS = ['ours', 'ws', 'socket.io', 'crossws', 'floor']
/** Bytes of text that make a progress message a frame of 370 bytes. */
const SMALL = 180
const KIB = 1024

function each (contenders: readonly string[], entry: Omit<Entry, 'label' | 'contender'>, suffix = ''): Entry[] {
  return contenders.map((contender) => ({ label: contender + suffix, contender, ...entry }))
}

const oneATick = { kind: 'progress', stride: 1, publicationsPerTick: 1, bodyBytes: SMALL } as const
const keptTen = { ...oneATick, kind: 'update', publicationsPerTick: 10, ticks: 20 } as const
const roundRobin = { kind: 'progress', stride: 1, publicationsPerTick: 100, ticks: 150, bodyBytes: SMALL } as const

const keptRoundRobin = { ...roundRobin, kind: 'update' } as const

/** A frame and its header may exceed the limit by one message. */
const STALLED_MESSAGE = 16 * KIB

export function rows (quick: boolean): Row[] {
  const many = quick ? 2_000 : 10_000
  const pages = { subscriptions: 20, sockets: many, sessions: many * 20, plan: roundRobin }
  const stalled = {
    sockets: 100, sessions: 1,
    plan: { kind: 'update', stride: 1, publicationsPerTick: 2, ticks: quick ? 640 : 6_400, bodyBytes: STALLED_MESSAGE - 150, watchesMemory: true }
  } as const
  const idle = { sockets: many, sessions: many, compression: true }
  return [
    {
      name: 'fan-out',
      title: '1,000 sockets in a session, one message a tick',
      kind: 'publish',
      entries: each(CONTENDERS, { sockets: 1_000, sessions: 1, plan: { ...oneATick, ticks: 80 } }),
      targets: [
        { against: 'ws', metric: 'cpu', atMost: 0.8 },
        { against: 'socket.io', metric: 'cpu', atMost: 0.7 },
        { against: 'crossws', metric: 'cpu' },
        { against: 'floor', metric: 'cpu', atMost: 1.15 }
      ]
    },
    {
      name: 'fan-out-10',
      title: '1,000 sockets in a session, ten messages a tick',
      kind: 'publish',
      entries: each(CONTENDERS, { sockets: 1_000, sessions: 1, plan: { ...oneATick, publicationsPerTick: 10, ticks: 20 } }),
      targets: [
        { against: 'ws', metric: 'cpu', atMost: 0.13 },
        { against: 'socket.io', metric: 'cpu', atMost: 0.11 },
        { against: 'crossws', metric: 'cpu' },
        { against: 'floor', metric: 'cpu' }
      ]
    },
    {
      name: 'deflate',
      title: '500 sockets in a session, 3 KB messages, permessage-deflate',
      kind: 'publish',
      entries: each(CONTENDERS, { sockets: 500, sessions: 1, compression: true, plan: { ...oneATick, bodyBytes: 2_900, ticks: 30 } }),
      targets: [
        { against: 'ws', metric: 'cpu', atMost: 0.07 },
        { against: 'socket.io', metric: 'cpu', atMost: 0.06 },
        { against: 'crossws', metric: 'cpu' },
        { against: 'floor', metric: 'cpu' }
      ]
    },
    {
      name: 'sessions',
      title: `${many.toLocaleString('en')} sessions of one socket each, progress round robin`,
      kind: 'publish',
      entries: [
        ...each(CONTENDERS, { sockets: many, sessions: many, plan: roundRobin }),
        ...each(['ours', 'ws', 'floor'], { sockets: 100, sessions: 100, plan: roundRobin }, ' (100)')
      ],
      targets: [
        { against: 'ws', metric: 'cpu', atMost: 0.9 },
        { against: 'socket.io', metric: 'cpu' },
        { against: 'crossws', metric: 'cpu' },
        { against: 'floor', metric: 'cpu' },
        { against: 'ours (100)', metric: 'cpu', atMost: 1.2 },
        { of: 'ws', against: 'ws (100)', metric: 'cpu' },
        { of: 'floor', against: 'floor (100)', metric: 'cpu' }
      ]
    },
    {
      name: 'pages',
      title: `${many.toLocaleString('en')} pages that follow 20 sessions each`,
      kind: 'publish',
      entries: [
        { label: 'ours', contender: 'ours', ...pages },
        { label: 'ours, one job a page', contender: 'ours', ...pages, plan: { ...roundRobin, stride: 20 } },
        { label: 'ours (row sessions)', contender: 'ours', sockets: many, sessions: many, plan: roundRobin },
        ...each(['ws', 'socket.io', 'floor'], pages)
      ],
      targets: [
        { against: 'ours (row sessions)', metric: 'cpu', atMost: 1 },
        { of: 'ours, one job a page', against: 'ours (row sessions)', metric: 'cpu', atMost: 1 },
        { against: 'ws', metric: 'cpu' },
        { against: 'socket.io', metric: 'cpu' },
        { against: 'floor', metric: 'cpu' }
      ]
    },
    {
      name: 'history',
      title: `messages that are kept, ${many.toLocaleString('en')} sessions of one socket each`,
      kind: 'publish',
      entries: [
        { label: 'ours', contender: 'ours', sockets: many, sessions: many, plan: keptRoundRobin },
        { label: 'ours, history: false', contender: 'ours', withoutHistory: true, sockets: many, sessions: many, plan: keptRoundRobin }
      ],
      targets: [{ against: 'ours, history: false', metric: 'cpu', atMost: 1.15 }]
    },
    {
      name: 'history-fan-out',
      title: 'messages that are kept, 1,000 sockets in a session, ten messages a tick',
      kind: 'publish',
      entries: [
        { label: 'ours', contender: 'ours', sockets: 1_000, sessions: 1, plan: keptTen },
        { label: 'ours, history: false', contender: 'ours', withoutHistory: true, sockets: 1_000, sessions: 1, plan: keptTen }
      ],
      targets: [{ against: 'ours, history: false', metric: 'cpu', atMost: 1.15 }]
    },
    {
      name: 'connect',
      title: 'connect, subscribe, disconnect',
      kind: 'churn',
      entries: each(['ours', 'bare', 'ws', 'socket.io', 'crossws'], { sockets: quick ? 1_000 : 3_000, sessions: 1, subscriptions: 1 }),
      targets: [
        { against: 'bare', metric: 'rate', atLeast: 0.85 },
        { against: 'bare', metric: 'cpu' },
        { against: 'ws', metric: 'rate' },
        { against: 'socket.io', metric: 'rate' },
        { against: 'crossws', metric: 'rate' }
      ]
    },
    {
      name: 'stalled',
      title: `one stalled reader and 100 fast ones, ${quick ? 20 : 200} MB published`,
      kind: 'stalled',
      entries: [
        { label: 'ours', contender: 'ours', stalled: 1, ...stalled },
        { label: 'ours, none stalled', contender: 'ours', ...stalled },
        { label: 'ws', contender: 'ws', stalled: 1, ...stalled },
        { label: 'ws, none stalled', contender: 'ws', ...stalled }
      ],
      targets: [
        { metric: 'waiting', atMost: 1024 * KIB + STALLED_MESSAGE },
        { of: 'ws', metric: 'waiting' },
        { against: 'ours, none stalled', metric: 'rss', minus: true, atMost: 16 * 1024 * KIB },
        { of: 'ws', against: 'ws, none stalled', metric: 'rss', minus: true },
        { against: 'ours, none stalled', metric: 'p99', atMost: 1.5 }
      ]
    },
    {
      name: 'memory',
      title: `idle memory for each of ${many.toLocaleString('en')} connections`,
      kind: 'memory',
      entries: each(['ours', 'bare', 'ws', 'socket.io', 'crossws'], idle),
      targets: [
        { against: 'bare', metric: 'rss', minus: true, atMost: 0 },
        { against: 'bare', metric: 'heap', minus: true, atMost: 0 }
      ]
    },
    {
      name: 'memory-deflate',
      title: `the same, ${many.toLocaleString('en')} connections after one compressed message from each`,
      kind: 'memory',
      entries: each(['ours', 'bare', 'ws', 'crossws'], { ...idle, plan: roundRobin }),
      targets: [
        { against: 'bare', metric: 'rss', minus: true, atMost: 0 },
        { against: 'bare', metric: 'heap', minus: true, atMost: 0 }
      ]
    },
    ...recoveryRows(quick)
  ]
}

/** Returns the row with `build` as ours, and another build of ours for comparison. */
export function withBuilds (row: Row, build: string | undefined, baseline: string | undefined): Row {
  const entries = row.entries.map((entry) => build === undefined || entry.contender !== 'ours' ? entry : { ...entry, build })
  if (baseline === undefined) return { ...row, entries }
  const others = entries.filter(({ label }) => label === 'ours').map((entry) => ({ ...entry, label: 'baseline', build: baseline }))
  const metrics: readonly Metric[] = row.kind === 'memory' ? ['rss', 'heap'] : ['cpu']
  const targets = metrics.map((metric) => ({ against: 'baseline', metric, minus: row.kind === 'memory' }))
  return { ...row, entries: [...entries, ...others], targets: [...row.targets, ...targets] }
}
