import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { constants, deflateRawSync, inflateRawSync } from 'node:zlib'
import { readAt, readN, stamp } from '../payload.js'
import { serve } from '../rpc.js'
import { isRemote, serverOf } from '../spread.js'
import { Client, dialectOf, type ClientOptions } from './client.js'
import { clientFrame, TEXT } from './frames.js'

// The load process. It counts every frame of every socket, and reads the payloads of a few.

export interface OpenOptions {
  readonly contender: string
  /** Ports of the servers: socket `i` connects to `ports[i % ports.length]`. */
  readonly ports: readonly number[]
  /** With several servers: how many of them publish. Latency is measured at the sockets of the others. */
  readonly publishers?: number
  readonly ackPort: number
  readonly sockets: number
  readonly deflate: boolean
  /** Socket `i` subscribes to session `i % sessions`, in the query. */
  readonly sessions: number
  /** Prefix of the session names. @default 's' */
  readonly prefix?: string
  /** If not 0, each socket subscribes to this number of sessions of its own instead, by `subscribe`. */
  readonly subscriptions: number
  /** Further sockets that subscribe to the same session and stop reading. */
  readonly stalled: number
}

export interface ExpectOptions {
  readonly messagesPerTick: number
}

export interface Received {
  readonly messages: number
  /** The smallest and the largest number of messages of one socket. */
  readonly fewest: number
  readonly most: number
  /** Microseconds from publish to read, of the sockets whose payloads are read. */
  readonly latencies: number[]
  /** Messages out of sequence. */
  readonly disordered: number
  readonly cpuMicros: number
}

/** Connections being established at a time: below the servers' listen backlog. */
const CONNECTING = 128
/** Number of sockets whose payloads are read. */
const SAMPLED = 40
/** Loopback has many addresses on Linux, each with its own ports. */
const ADDRESSES = process.platform === 'linux' ? 16 : 1
const ACK = Buffer.from([1])
const RSV1 = 0x40
const TAIL = Buffer.from([0, 0, 0xff, 0xff])

let options: OpenOptions
let acknowledge: Socket
const clients: Client[] = []
const stalled: Client[] = []
let counts = new Uint32Array(0)
let messages = 0
let messagesPerTick = 0
let nextAck = Infinity
let latencies: number[] = []
let disordered = 0
let cpuBefore = process.cpuUsage()
let opened = 0

function address (): string {
  return `127.0.0.${2 + opened++ % ADDRESSES}`
}

function clientOptions (at: number): ClientOptions {
  const { contender, ports, deflate, sessions, prefix = 's', subscriptions } = options
  return {
    port: ports[serverOf(at, ports.length)]!, deflate, dialect: dialectOf(contender), localAddress: ADDRESSES === 1 ? '127.0.0.1' : address(),
    sessionId: subscriptions > 0 ? undefined : `${prefix}${at % sessions}`,
    subscribe: Array.from({ length: subscriptions }, (_, i) => `s${at * subscriptions + i}`)
  }
}

function open (at: number): Promise<Client> {
  return new Promise((resolve, reject) => {
    const client: Client = new Client(clientOptions(at), (error) => {
      if (error === undefined) resolve(client)
      else reject(error)
    })
  })
}

/** Runs a task repeatedly with limited concurrency. */
async function inParallel (count: number, width: number, work: (at: number) => Promise<void>): Promise<void> {
  let at = 0
  await Promise.all(Array.from({ length: Math.min(width, count) }, async () => {
    while (at < count) await work(at++)
  }))
}

function counted (at: number): void {
  counts[at]!++
  if (++messages === nextAck) {
    nextAck += messagesPerTick
    acknowledge.write(ACK)
  }
}

/** Returns the distance between two sockets whose payloads are read. They are spread over all servers. */
function sampleStep (sockets: number, servers: number): number {
  const step = Math.ceil(sockets / SAMPLED)
  return servers > 1 && step % servers === 0 ? step + 1 : step
}

function watch (client: Client, at: number): void {
  const { ports, sockets, sessions, publishers = 1 } = options
  if (at % sampleStep(sockets, ports.length) !== 0) {
    client.onMessage = () => { counted(at) }
    return
  }
  const isTimed = isRemote(at, { sessions, publishers, servers: ports.length })
  let last = -1
  client.read()
  client.onMessage = (first, payload = Buffer.alloc(0)) => {
    const now = stamp()
    const content = (first & RSV1) === 0 ? payload : inflateRawSync(Buffer.concat([payload, TAIL]), { finishFlush: constants.Z_SYNC_FLUSH })
    if (isTimed) latencies.push(now - readAt(content))
    const n = readN(content)
    if (!(n > last)) disordered++
    last = n
    counted(at)
  }
}

const handlers = {
  async open (given: OpenOptions): Promise<{ wallMicros: number }> {
    options = given
    const before = process.hrtime.bigint()
    acknowledge = connect({ port: given.ackPort, host: '127.0.0.1', noDelay: true })
    await once(acknowledge, 'connect')
    counts = new Uint32Array(given.sockets)
    await inParallel(given.sockets, CONNECTING, async (at) => {
      const client = clients[at] = await open(at)
      watch(client, at)
    })
    for (let at = 0; at < given.stalled; at++) {
      const client = await open(at)
      client.pause()
      stalled.push(client)
    }
    return { wallMicros: Number((process.hrtime.bigint() - before) / 1000n) }
  },

  /** Starts a round in which all clients are alike: acknowledges whenever this number of messages has arrived. */
  async expect (given: ExpectOptions): Promise<void> {
    await inParallel(clients.length, CONNECTING, (at) => clients[at]!.answer())
    messagesPerTick = given.messagesPerTick
    messages = 0
    nextAck = messagesPerTick
    counts.fill(0)
    latencies = []
    disordered = 0
    cpuBefore = process.cpuUsage()
  },

  async received (): Promise<Received> {
    const { user, system } = process.cpuUsage(cpuBefore)
    // A surplus message would follow immediately.
    await new Promise((resolve) => { setTimeout(resolve, 5) })
    return {
      messages,
      fewest: counts.reduce((a, b) => Math.min(a, b), Infinity),
      most: counts.reduce((a, b) => Math.max(a, b), 0),
      latencies,
      disordered,
      cpuMicros: user + system
    }
  },

  /** Connects, subscribes and disconnects repeatedly. */
  async churn (given: OpenOptions & { count: number, width: number }): Promise<{ wallMicros: number, cpuMicros: number }> {
    options = given
    const before = process.hrtime.bigint()
    const cpu = process.cpuUsage()
    await inParallel(given.count, given.width, async (at) => {
      const client = await open(at)
      await new Promise<void>((resolve) => {
        client.onEnd = resolve
        client.close()
      })
    })
    const { user, system } = process.cpuUsage(cpu)
    return { wallMicros: Number((process.hrtime.bigint() - before) / 1000n), cpuMicros: user + system }
  },

  /** Sends one compressed message on each socket and waits for all replies. */
  async compressedPing (): Promise<void> {
    const deflated = deflateRawSync('{"type":"ping"}', { windowBits: 15, finishFlush: constants.Z_SYNC_FLUSH }).subarray(0, -4)
    const frame = clientFrame(TEXT, deflated, true)
    await inParallel(clients.length, CONNECTING, (at) => new Promise<void>((resolve) => {
      clients[at]!.onMessage = () => { resolve() }
      clients[at]!.send(frame)
    }))
  }
}

export type LoadHandlers = typeof handlers

serve(handlers)
