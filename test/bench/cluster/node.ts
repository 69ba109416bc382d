import { createHash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { Acknowledgements } from '../acknowledgements.js'
import { body, stamp, text } from '../payload.js'
import { serve } from '../rpc.js'
import { publisherOf } from '../spread.js'
import { contenders, type ClusterContender, type ClusterContenderOptions } from './contenders.js'

// The measured process: one of three nodes.

export interface Ticks {
  readonly sessionId: string
  readonly publicationsPerTick: number
  readonly ticks: number
}

/** The steady rate at which a node publishes: a message to each of its sessions in turn, evenly spread over the interval. */
export interface Rate {
  /** Prefix of the session names. */
  readonly prefix: string
  /** The sessions of all nodes. */
  readonly sessions: number
  readonly publishers: number
  /** This node's index among the publishers. */
  readonly index: number
  readonly everyMs: number
  /** Messages to each session. */
  readonly times: number
}

const TICK_TIMEOUT_MS = 30_000
const POLL_MS = 20
/** Bytes of text that make a message a frame of 370 bytes. */
const SMALL = 180
/** Length of a piece of a model's text, which begins with the time at which it was created. */
const DELTA_UNITS = 40
/** Different texts, created before the measurement starts. */
const TEXTS = Array.from({ length: 16 }, (_, turn) => text(SMALL, turn * 37))

const acknowledgements = new Acknowledgements()
const published = new Map<string, number>()
let contender: ClusterContender | undefined

function theContender (): ClusterContender {
  if (contender === undefined) throw new Error('call listen first')
  return contender
}

/** Returns the message's number within its session. */
function publish (sessionId: string): number {
  const n = published.get(sessionId) ?? 0
  published.set(sessionId, n + 1)
  theContender().publish(sessionId, body(n, TEXTS[n % TEXTS.length] ?? ''))
  return n
}

function acknowledged (timeoutMs: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const settle = (done: () => void): void => {
      clearTimeout(timer)
      acknowledgements.listener(undefined)
      done()
    }
    const timer = setTimeout(() => { settle(() => { reject(new Error(`not everything arrived within ${timeoutMs} ms: a message is missing`)) }) }, timeoutMs)
    acknowledgements.listener(() => { settle(resolve) })
  })
}

function ownSessions ({ prefix, sessions, publishers, index }: Rate): string[] {
  return Array.from({ length: sessions }, (_, at) => at)
    .filter((at) => publisherOf(at, publishers) === index)
    .map((at) => prefix + String(at))
}

async function steadily (own: readonly string[], { everyMs, times }: Rate, act: (sessionId: string) => void): Promise<void> {
  const stepMs = everyMs / own.length
  const begin = performance.now()
  for (let sent = 0; sent < own.length * times;) {
    await sleep(Math.max(1, begin + sent * stepMs - performance.now()))
    const due = Math.min(own.length * times, Math.floor((performance.now() - begin) / stepMs) + 1)
    for (; sent < due; sent++) act(own[sent % own.length]!)
  }
}

const handlers = {
  async listen ({ name, ...options }: ClusterContenderOptions & { name: string }): Promise<{ port: number, ackPort: number }> {
    contender = contenders[name]?.(options)
    await acknowledgements.listen()
    return { port: await theContender().listen(), ackPort: acknowledgements.port }
  },

  /** Returns the CPU time of all threads since the process began, in microseconds. */
  cpu (): number {
    const { user, system } = process.cpuUsage()
    return user + system
  },

  /** Publishes one tick after another, each when all sockets have received the previous one. */
  async ticks ({ sessionId, publicationsPerTick, ticks }: Ticks): Promise<void> {
    for (let tick = 0; tick < ticks; tick++) {
      const arrived = acknowledged(TICK_TIMEOUT_MS)
      for (let i = 0; i < publicationsPerTick; i++) publish(sessionId)
      await arrived
    }
  },

  /** Resolves when the load process has received all messages that it expects. */
  async acknowledged ({ timeoutMs }: { timeoutMs: number }): Promise<void> {
    await acknowledged(timeoutMs)
  },

  /** Returns the number of the last message in its session. */
  async publish (rate: Rate): Promise<number> {
    let last = -1
    await steadily(ownSessions(rate), rate, (sessionId) => { last = publish(sessionId) })
    return last
  },

  /** Runs a job that streams text in each session. Returns the digests of the texts, by session name. */
  async stream (rate: Rate): Promise<Record<string, string>> {
    const own = ownSessions(rate)
    const jobs = new Map(own.map((sessionId) => [sessionId, { writer: theContender().write(sessionId), text: '' }]))
    await steadily(own, rate, (sessionId) => {
      const job = jobs.get(sessionId)!
      const delta = ` ${stamp()}`.padEnd(DELTA_UNITS, ' of a text')
      job.text += delta
      job.writer.append(delta)
    })
    for (const { writer } of jobs.values()) writer.end()
    return Object.fromEntries([...jobs].map(([sessionId, job]) => [sessionId, createHash('sha1').update(job.text).digest('hex')]))
  },

  async connections ({ count, timeoutMs }: { count: number, timeoutMs: number }): Promise<void> {
    const end = performance.now() + timeoutMs
    while (theContender().connections() !== count) {
      if (performance.now() > end) throw new Error(`${theContender().connections()} connections instead of ${count}`)
      await sleep(POLL_MS)
    }
  }
}

export type NodeHandlers = typeof handlers

serve(handlers)
