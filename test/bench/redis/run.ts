import { randomBytes } from 'node:crypto'
import { parseArgs } from 'node:util'
import { Redis } from 'ioredis'
import { Redis as Valkey } from 'iovalkey'
import type { Stream } from '../../../lib/streams/broker.js'
import { RedisServer } from '../../support/redis-server.js'
import { median } from '../stats.js'
import { FLOOR, floorCall } from './floor.js'
import { Nodes, Plain } from './nodes.js'

// `npm run bench:redis`: what one operation of the broker over Redis costs in Redis. See ../README.md.

const { values: flags } = parseArgs({ options: { rounds: { type: 'string', default: '11' }, operations: { type: 'string', default: '4000' } } })
const rounds = Number(flags.rounds)
/** Operations of a round. Joins that read much have fewer. */
const operations = Number(flags.operations)

const NODES = 3
const SESSIONS = 200
const WARM_UP_ROUNDS = 2
const BODY_BYTES = 370
const DELTA = 'forty units of text, as one sends them. '
const body = JSON.stringify({ type: 'message', padding: 'x'.repeat(BODY_BYTES - 32) })
const session = (at: number): Stream => `session:bench-${at}`
const sessions = Array.from({ length: SESSIONS }, (_, at) => session(at))

/** A kind of operation, and how many of them a tick has. */
interface Row {
  readonly name: string
  readonly perTick: number
  readonly operations?: number
  /** The row that this one is compared with. */
  readonly against?: string
  readonly most?: number
  /** Runs the operations of one tick at once. */
  readonly tick: () => unknown
}

const server = await RedisServer.start('--slowlog-log-slower-than', '0', '--slowlog-max-len', '100000')
await server.command('FUNCTION', 'LOAD', FLOOR)
const nodes = await Nodes.open({ host: '127.0.0.1', port: server.port }, NODES)
const channels = sessions.map((_, at) => `plain:{b${at % 64}}c:${session(at)}`)
const plain = await Plain.open(server.port, NODES, channels)

/** Returns the CPU time of the Redis process so far, in microseconds. */
async function cpuMicros (): Promise<number> {
  const info = String(await server.command('INFO', 'cpu'))
  const seconds = (name: string): number => Number(new RegExp(`^${name}:([\\d.]+)`, 'm').exec(info)?.[1])
  return (seconds('used_cpu_user') + seconds('used_cpu_sys')) * 1e6
}

/**
 * Returns the duration of the longest command since the last call, in microseconds. It includes the time in which other programs
 * run, so the minimum of all rounds counts.
 */
async function longestMicros (): Promise<number> {
  const entries = await server.command('SLOWLOG', 'GET', '-1') as Array<[number, number, number, string[]]>
  await server.command('SLOWLOG', 'RESET')
  return Math.max(...entries.filter(([, , , [name = '']]) => /^(?:fcall|publish)$/i.test(name)).map(([, , micros]) => micros))
}

/** Returns the memory of a session in Redis: a running job with 40 units of text, and 10 kept messages, one of them the job's start. */
async function sessionBytes (): Promise<number> {
  const stream = 'session:memory'
  await nodes.publisher.publish(stream, body, { durable: true, job: { event: 'start', jobId: 'job' } })
  await nodes.publisher.publish(stream, body, { durable: false, job: { event: 'progress', jobId: 'job', chunks: 1 }, delta: DELTA })
  await fill(stream, 9)
  const keys = (await Promise.all([`*:${stream}`, `*:${stream}:*`].map((pattern) => server.command('KEYS', pattern)))).flat() as string[]
  const sizes = await Promise.all(keys.map((key) => server.command('MEMORY', 'USAGE', key)))
  return sizes.reduce<number>((sum, size) => sum + Number(size), 0)
}

/** Prints the CPU time that a node takes for a durable message, with each client library. */
async function compareClients (): Promise<void> {
  const target = { host: '127.0.0.1', port: server.port, lazyConnect: true }
  const clients = [['ioredis', new Redis(target)], ['iovalkey', new Valkey(target)]] as const
  const all = await Promise.all(clients.map(async ([name, client]) => ({ name, nodes: await Nodes.open(client, 1, name), micros: [] as number[] })))
  for (const one of all) await one.nodes.join(sessions)
  for (let round = -WARM_UP_ROUNDS; round < rounds; round++) {
    for (const one of all) {
      const before = process.cpuUsage()
      for (let sent = 0; sent < operations;) {
        await Promise.all(range(20).map(() => one.nodes.publish(session(sent++ % SESSIONS), body, { durable: true })))
      }
      await one.nodes.delivered()
      const { user, system } = process.cpuUsage(before)
      if (round >= 0) one.micros.push((user + system) / operations)
    }
  }
  const [first, second] = all.map(({ micros }) => micros) as [number[], number[]]
  const ratios = second.map((micros, round) => micros / first[round]!)
  process.stdout.write(`CPU of a node for a durable message to one subscriber, 20 a tick: ${all.map(({ name, micros }) => `${median(micros).toFixed(1)} µs with ${name}`).join(', ')}; ` +
    `ratio ${median(ratios).toFixed(2)} (${Math.min(...ratios).toFixed(2)} … ${Math.max(...ratios).toFixed(2)})\n`)
  for (const one of all) await one.nodes.close()
}

function chunks<T> (items: readonly T[], size: number): T[][] {
  return Array.from({ length: Math.ceil(items.length / size) }, (_, at) => items.slice(at * size, (at + 1) * size))
}

const range = (length: number): number[] => Array.from({ length }, (_, at) => at)

async function fill (stream: Stream, count: number): Promise<void> {
  for (let at = 0; at < count; at += 100) await Promise.all(range(Math.min(100, count - at)).map(async () => nodes.publisher.publish(stream, body, { durable: true })))
}

function publishRows (perTick: number, suffix: string): Row[] {
  const durable = (stream: Stream): Promise<unknown> => nodes.publish(stream, body, { durable: true })
  let next = 0
  const some = (): Stream[] => range(perTick).map(() => session(next++ % SESSIONS))
  const floor = (kind: 'durable' | 'progress') => () => {
    const streams = some().map((_, at) => session(at))
    return plain.run(chunks(streams, 32).map((some) => floorCall(kind, some, body, DELTA)), perTick)
  }
  return [
    { name: `publish${suffix}`, perTick, tick: () => plain.run(some().map((_, at) => ['PUBLISH', channels[at] ?? '', body])) },
    { name: `durable${suffix}`, perTick, against: `publish${suffix}`, most: 6, tick: () => Promise.all(some().map(durable)) },
    { name: `floor of durable${suffix}`, perTick, against: `publish${suffix}`, tick: floor('durable') },
    {
      name: `progress${suffix}`, perTick, against: `publish${suffix}`, most: 8,
      tick: () => Promise.all(some().map((stream) => nodes.publish(stream, body, { durable: false, job: { event: 'progress', jobId: 'job', chunks: 1 }, delta: DELTA })))
    },
    { name: `floor of progress${suffix}`, perTick, against: `publish${suffix}`, tick: floor('progress') },
    {
      name: `ten of a stream${suffix}`, perTick, against: `publish${suffix}`,
      tick: () => Promise.all(range(perTick).map((at) => durable(session(Math.floor((next++, at) / 10) % SESSIONS))))
    }
  ]
}

await nodes.join(sessions)
for (const stream of sessions) await nodes.publish(stream, body, { durable: false, job: { event: 'start', jobId: 'job' } })
const [far, near, long] = ['session:far', 'session:near', 'session:long'] as const
await fill(far, 1_000)
await fill(near, 50)
const start = await nodes.publisher.join('session:new')
const [farEpoch, nearEpoch] = [(await nodes.publisher.join(far)).epoch, (await nodes.publisher.join(near)).epoch]
await nodes.publisher.publish(long, body, { durable: false, job: { event: 'start', jobId: 'long' } })
for (let at = 0; at < 16; at++) {
  await nodes.publisher.publish(long, body, { durable: false, job: { event: 'progress', jobId: 'long' }, delta: randomBytes(32_768).toString('hex') })
}
const join = (stream: Stream, epoch: string, seq: number, expected: number) => async (): Promise<void> => {
  const { replay } = await nodes.publisher.join(stream, { since: { epoch, seq } })
  if (replay.length !== expected) throw new Error(`the join of ${stream} returned ${replay.length} instead of ${expected} messages`)
}

const rows: Row[] = [
  ...publishRows(SESSIONS, ''),
  ...publishRows(20, ', 20 a tick'),
  ...publishRows(1, ', one a tick'),
  {
    name: 'publish of a 1 MiB body',
    perTick: 1,
    operations: 5,
    tick: () => nodes.publish(session(0), JSON.stringify({ padding: 'x'.repeat(1024 * 1024) }), { durable: true })
  },
  {
    name: 'progress that trims a text of 1 MiB',
    perTick: 1,
    operations: 10,
    tick: () => nodes.publisher.publish('session:trimmed', body, { durable: false, job: { event: 'progress', jobId: 'trimmed' }, delta: 'x'.repeat(131_072) })
  },
  { name: 'join, nothing missed', perTick: 1, operations: 200, tick: join('session:new', start.epoch, 0, 0) },
  { name: 'join, 50 missed', perTick: 1, operations: 100, tick: join(near, nearEpoch, 0, 50) },
  { name: 'join, 1,000 missed', perTick: 1, operations: 40, tick: join(far, farEpoch, 0, 1_000) },
  {
    name: 'join, 1 MiB of text',
    perTick: 1,
    operations: 20,
    tick: async () => {
      const { replay } = await nodes.publisher.join(long)
      const text = replay.find((publication) => publication.text !== undefined)?.text
      if (text?.source.slice(0, text.to).text.length !== 1_048_576) throw new Error('the text of the join is not complete')
    }
  }
]

const samples = new Map(rows.map(({ name }) => [name, { cpu: [] as number[], longest: [] as number[] }]))
try {
  for (let round = -WARM_UP_ROUNDS; round < rounds; round++) {
    for (const row of rows) {
      await longestMicros()
      const ticks = Math.ceil((row.operations ?? operations) / row.perTick)
      const before = await cpuMicros()
      for (let tick = 0; tick < ticks; tick++) await row.tick()
      await Promise.all([nodes.delivered(), plain.delivered()])
      const after = await cpuMicros()
      const longest = await longestMicros()
      if (round < 0) continue
      samples.get(row.name)?.cpu.push((after - before) / ticks / row.perTick)
      samples.get(row.name)?.longest.push(longest)
    }
  }
  const cells = (values: readonly string[]): string => `| ${values.join(' | ')} |\n`
  process.stdout.write(cells(['operation', 'Redis CPU, µs', 'ratio to publish', 'range', 'target', 'longest command, µs']) + cells(Array.from({ length: 6 }, () => '---')))
  for (const { name, against = '', most } of rows) {
    const { cpu = [], longest = [] } = samples.get(name) ?? {}
    const ratios = cpu.map((value, round) => value / (samples.get(against)?.cpu[round] ?? NaN))
    const ratio = against === '' ? ['', ''] : [median(ratios).toFixed(2), `${Math.min(...ratios).toFixed(2)} … ${Math.max(...ratios).toFixed(2)}`]
    process.stdout.write(cells([name, median(cpu).toFixed(1), ...ratio, most === undefined ? '' : `≤ ${most}`, Math.min(...longest).toFixed(0)]))
  }
  process.stdout.write(`\nMemory of a session with one running job and 10 kept messages: ${await sessionBytes()} bytes\n`)
  await compareClients()
} finally {
  plain.close()
  await nodes.close()
  await server.stop()
}
