import type { Entry, Row } from '../rows.js'

// The rows about clients that lose their connection.

const MIB = 1024 * 1024
const BOTH = ['ours', 'socket.io']
/** Throttle for text, the same for ours and Socket.IO. */
const THROTTLE_MICROS = 100_000

function each (contenders: readonly string[], entry: Omit<Entry, 'label' | 'contender'>): Entry[] {
  return contenders.map((contender) => ({ label: contender, contender, ...entry }))
}

export function recoveryRows (quick: boolean): Row[] {
  const nothingIsMissing = [{ metric: 'delivered', atLeast: 100 }] as const
  const delivered = [...nothingIsMissing, { metric: 'doubles', atMost: 0 }] as const
  return [
    {
      name: 'blips',
      title: `1,000 clients, a message each 500 ms for ${quick ? 20 : 60} s, each client cut off every 15 s for 2 s`,
      kind: 'blips',
      entries: each(BOTH, { sockets: 1_000, sessions: 1, seconds: quick ? 20 : 60 }),
      targets: [
        ...delivered,
        { metric: 'p99', atMost: 2_100_000 },
        { of: 'socket.io', metric: 'delivered' },
        { of: 'socket.io', metric: 'doubles' },
        { against: 'socket.io', metric: 'cpu' }
      ]
    },
    {
      name: 'herd',
      title: `${quick ? '1,000' : '5,000'} clients cut off at once and all back within a second, 50 messages behind`,
      kind: 'herd',
      entries: each(BOTH, { sockets: quick ? 1_000 : 5_000, sessions: 1 }),
      targets: [
        ...delivered,
        { against: 'socket.io', metric: 'cpu', atMost: 0.5 },
        { against: 'socket.io', metric: 'stall', atMost: 0.5 },
        { against: 'socket.io', metric: 'tail', atMost: 0.5 }
      ]
    },
    {
      name: 'ceiling',
      title: 'ten times as much published as history may keep',
      kind: 'ceiling',
      entries: [{ label: 'ours', contender: 'ours', sockets: 0, sessions: 2_000 }],
      targets: [{ metric: 'history', atMost: 64 * MIB }, { metric: 'heap', atMost: 64 * MIB }]
    },
    {
      name: 'stream',
      title: '200 jobs of 100 tokens a second, five tabs each, one of them cut off every 10 s',
      kind: 'stream',
      entries: each([...BOTH, 'socket.io, throttled'], { sockets: quick ? 250 : 1_000, sessions: quick ? 50 : 200, seconds: quick ? 12 : 30 }),
      targets: [
        ...nothingIsMissing,
        { against: 'socket.io', metric: 'cpu', atMost: 0.3 },
        { against: 'socket.io, throttled', metric: 'cpu', atMost: 0.7 },
        { metric: 'p99', atMost: THROTTLE_MICROS + 20_000 }
      ]
    }
  ]
}
