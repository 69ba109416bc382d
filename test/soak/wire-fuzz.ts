import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { Ledger } from './ledger.js'
import { Line } from './line.js'
import { Random } from './random.js'
import { ServerAnswer } from './server-answer.js'
import { buildServer, ServerProcess } from './server-process.js'
import { Journal } from './soak-failure.js'
import { RawTab } from './tabs/raw-tab.js'
import { readMessage } from './tabs/tab.js'
import type { Heads } from './tabs/tab.js'
import { wireInput, type WireInput } from './wire-inputs.js'
import { SESSIONS } from './world.js'

export interface WireFuzzOptions {
  readonly seed: number
  /** Number of connections to make. */
  readonly connections: number
}

export interface WireFuzzTotals { connections: number, inputs: number, answers: number }

/** Number of simultaneous connections. */
const CONCURRENCY = 24
/**
 * How long a connection waits for a reply that may never come, and for more of a reply that has begun, in milliseconds. The server
 * never replies to half of a request, so only a timeout can end the wait.
 */
const PATIENCE_MS = 1_000
const MORE_MS = 60
const CHECK_EACH = 250
const SETTLE_MS = 30_000

/** Sends random and mutated bytes to a real server, and checks its replies strictly. */
export async function fuzzWire ({ seed, connections }: WireFuzzOptions): Promise<WireFuzzTotals> {
  await buildServer()
  const journal = new Journal(`npm run soak -- --replay --only wire --seed ${seed} --connections ${connections}`)
  const ledger = new Ledger(journal)
  const totals: WireFuzzTotals = { connections: 0, inputs: 0, answers: 0 }
  const server = new ServerProcess({ generation: 0, revoked: [], closeTimeoutMs: 1_000, stallAfterMs: 60_000 }, journal, (list, endedJobs) => { ledger.published(list, endedJobs) })
  const line = await Line.open(() => server.port)
  let canary: RawTab | undefined
  const work = async (): Promise<void> => {
    await server.listening
    const random = new Random(seed)
    canary = new RawTab({ name: 'canary', userId: 'ada', line, random, journal, ledger, sessions: SESSIONS.slice(0, 2) })
    const next = async (): Promise<void> => {
      while (totals.connections < connections) {
        const number = totals.connections++
        const input = wireInput(random)
        totals.inputs += input.count
        const answers = await exchange(server.port, number, input, journal)
        totals.answers += answers
        if (number % CHECK_EACH === 0) await isServed(server, canary!, journal)
      }
    }
    await Promise.all(Array.from({ length: CONCURRENCY }, next))
    await isServed(server, canary, journal)
    let last = ''
    await journal.until('no connection is leaked: only the canary\'s is left', async () => {
      const state = await server.call('state', { collectGarbage: false })
      last = JSON.stringify({ ...state, heads: undefined })
      return state?.connections === 1 && state.sockets === 1
    }, SETTLE_MS, () => last)
    canary.close()
    await server.restart()
  }
  try {
    await Promise.race([journal.failed, work()])
  } finally {
    canary?.close()
    line.close()
    await server.kill()
  }
  return totals
}

/** Makes one connection. Returns the number of messages and HTTP heads that it received. */
async function exchange (port: number | undefined, number: number, { label, parts }: WireInput, journal: Journal): Promise<number> {
  if (port === undefined) throw journal.failure ?? new Error('the server is gone')
  journal.note(`connection ${number}: ${label}`)
  const answer = new ServerAnswer((text) => readMessage(text, journal))
  const socket = connect(port, '127.0.0.1')
  let patience: NodeJS.Timeout | undefined
  const done = new Promise<void>((resolve) => {
    socket.on('close', () => { resolve() })
    patience = setTimeout(resolve, PATIENCE_MS)
    socket.on('data', () => {
      clearTimeout(patience)
      patience = setTimeout(resolve, MORE_MS)
    })
  })
  socket.on('error', () => { /* the close event follows */ })
  socket.on('data', (chunk: Buffer) => {
    try {
      answer.take(chunk)
    } catch (error) {
      journal.fail('the server answers as the protocol says', `${String(error)}\nconnection ${number}, ${label}:\n${Buffer.concat(parts).toString('hex').slice(0, 4_000)}`)
    }
  })
  for (const part of parts) {
    if (socket.destroyed) break
    socket.write(part)
    await sleep(0)
  }
  await done
  clearTimeout(patience)
  socket.destroy()
  return answer.messages.length + (answer.status === undefined ? 0 : 1)
}

/** Waits until a well-behaved client has received everything, as if nothing had happened. */
async function isServed (server: ServerProcess, canary: RawTab, journal: Journal): Promise<void> {
  for (const sessionId of canary.subscriptions) await server.call('note', sessionId)
  const state = await server.call('state', { collectGarbage: false })
  const heads: Heads = new Map((state?.heads ?? []).map(([stream, epoch, seq]) => [stream, { epoch, seq }]))
  await journal.until('a client that behaves is served', () => canary.missing(heads) === undefined, SETTLE_MS, () => String(canary.missing(heads)))
}
