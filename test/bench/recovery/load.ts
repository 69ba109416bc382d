import { createHash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { readAt, readN, stamp, stampOf } from '../payload.js'
import { serve } from '../rpc.js'
import { isRemote, serverOf } from '../spread.js'
import { followerOf } from './subscriber.js'
import { Returning } from './returning.js'

// The process whose clients are disconnected and reconnect.

export interface FollowOptions {
  readonly contender: string
  /** Ports of the servers: client `i` connects to `ports[i % ports.length]`, and later to any of them. */
  readonly ports: readonly number[]
  /** With several servers: how many of them publish. Latency of text is measured at the clients of the others. */
  readonly publishers?: number
  readonly clients: number
  /** Client `i` subscribes to session `i % sessions`. */
  readonly sessions: number
  /** Prefix of the session names. @default 's' */
  readonly prefix?: string
  /** Whether the messages contain text, which is kept. */
  readonly text?: boolean
}

export interface CutOptions {
  /** Interval at which each client is disconnected. Each client has its own phase. */
  readonly everyMs: number
  /** Duration of a disconnect. */
  readonly awayMs: number
  readonly forMs: number
  /** Only every n-th client is disconnected. 1 means all clients. */
  readonly each: number
}

export interface Delivered {
  readonly messages: number
  readonly doubles: number
  readonly latencies: number[]
  readonly cuts: number
}

export interface Returned {
  /** Microseconds from the last client's connection attempt to the last message's arrival. */
  readonly tailMicros: number
}

/** Below the servers' listen backlog. */
const CONNECTING = 128
const ADDRESSES = process.platform === 'linux' ? 16 : 1
const POLL_MS = 20

interface Reader {
  readonly returning: Returning
  last: number
}

let contender = ''
const readers: Reader[] = []
let messages = 0
let doubles = 0
let latencies: number[] = []
let cuts = 0
let latestAt = 0

function read (reader: Reader, payload: Buffer): void {
  const n = readN(payload)
  if (Number.isNaN(n)) return
  const now = stamp()
  if (n <= reader.last) {
    doubles++
    return
  }
  reader.last = n
  messages++
  latestAt = now
  latencies.push(now - readAt(payload))
}

async function inTurns (count: number, work: (at: number) => Promise<void>): Promise<void> {
  let at = 0
  await Promise.all(Array.from({ length: Math.min(CONNECTING, count) }, async () => {
    while (at < count) await work(at++)
  }))
}

async function until (what: string, isSo: () => boolean, timeoutMs: number): Promise<boolean> {
  const end = performance.now() + timeoutMs
  while (!isSo()) {
    if (performance.now() > end) {
      process.stderr.write(`${contender}: ${what} did not happen within ${timeoutMs} ms\n`)
      return false
    }
    await sleep(POLL_MS)
  }
  return true
}

const handlers = {
  /** Connects new clients. Earlier ones must have been disconnected. */
  async follow (options: FollowOptions): Promise<void> {
    const { ports, publishers = 1, clients, sessions, prefix = 's' } = options
    contender = options.contender
    readers.length = 0
    latencies = []
    for (let at = 0; at < clients; at++) {
      // With one server, every fifth client may be disconnected for a while.
      const isTimed = ports.length === 1 ? at % 5 !== 0 : isRemote(at, { sessions, publishers, servers: ports.length })
      let next = serverOf(at, ports.length)
      // Pieces of text begin with a token's time stamp. Those of a disconnected client are late because of the disconnect.
      const onText = options.text !== true ? undefined : (text: string) => {
        if (isTimed) latencies.push(stamp() - stampOf(text))
      }
      const reader: Reader = {
        last: -1,
        returning: new Returning({
          port: () => {
            const port = ports[next]!
            next = Math.floor(Math.random() * ports.length)
            return port
          },
          localAddress: `127.0.0.${2 + at % ADDRESSES}`,
          subscriber: followerOf(options.contender, `${prefix}${at % sessions}`, onText),
          onMessage: (payload) => { if (options.text !== true) read(reader, payload) }
        })
      }
      readers.push(reader)
    }
    await inTurns(readers.length, async (at) => { await readers[at]?.returning.connect() })
  },

  /** Disconnects clients repeatedly. Resolves when all are connected again. */
  async cut ({ everyMs, awayMs, forMs, each }: CutOptions): Promise<void> {
    const end = performance.now() + forMs
    await Promise.all(readers.filter((_, at) => at % each === 0).map(async ({ returning }) => {
      await sleep(Math.random() * everyMs)
      while (performance.now() < end) {
        returning.cut()
        cuts++
        await sleep(awayMs)
        await returning.connect()
        await sleep(everyMs - awayMs)
      }
    }))
  },

  cutAll (): void {
    for (const { returning } of readers) returning.cut()
  },

  /** Reconnects all clients, spread over a time. They recover the messages up to `last`. */
  async returnAll ({ withinMs, last }: { withinMs: number, last: number }): Promise<Returned> {
    let lastArrival = 0
    await Promise.all(readers.map(async ({ returning }) => {
      await sleep(Math.random() * withinMs)
      lastArrival = stamp()
      await returning.connect()
    }))
    await until('the last delivery', () => readers.every((reader) => reader.last >= last), 30_000)
    return { tailMicros: latestAt - lastArrival }
  },

  /** Waits for message `last` at all clients, with a timeout. Returns what has arrived since the previous call. */
  async delivered ({ last, timeoutMs }: { last: number, timeoutMs: number }): Promise<Delivered> {
    await until('the last delivery', () => readers.every((reader) => reader.last >= last), timeoutMs)
    const answer = { messages, doubles, latencies, cuts }
    messages = doubles = cuts = 0
    latencies = []
    return answer
  },

  /** Waits for the end of every client's text. Returns their digests and lengths. */
  async texts ({ timeoutMs }: { timeoutMs: number }): Promise<{ digests: string[], units: number, latencies: number[], cuts: number }> {
    await until('the end of all texts', () => readers.every(({ returning }) => returning.subscriber.ended), timeoutMs)
    const texts = readers.map(({ returning }) => returning.subscriber.text)
    return {
      digests: texts.map((text) => createHash('sha1').update(text).digest('hex')),
      units: texts.reduce((sum, { length }) => sum + length, 0),
      latencies, cuts
    }
  }
}

export type RecoveryLoadHandlers = typeof handlers

serve(handlers)
