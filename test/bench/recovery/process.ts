import { createHash } from 'node:crypto'
import { monitorEventLoopDelay, type IntervalHistogram } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { body, stamp, text, TOKEN_UNITS } from '../payload.js'
import { serve } from '../rpc.js'
import { contenders, type RecoveryContender } from './contenders.js'

// The measured process.

export interface StreamOptions {
  readonly jobs: number
  readonly tokensPerSecond: number
  readonly seconds: number
}

export interface FillOptions {
  readonly bytes: number
  readonly messageBytes: number
  readonly sessions: number
}

const TEXTS = Array.from({ length: 16 }, (_, turn) => text(180, turn * 37))
/** Interval at which the size of history is checked, in messages. */
const LOOKS = 50

let contender: RecoveryContender | undefined
let published = 0
let delay: IntervalHistogram | undefined
let cpuBefore = process.cpuUsage()

function theContender (): RecoveryContender {
  if (contender === undefined) throw new Error('call listen first')
  return contender
}

function publish (sessionId: string): number {
  const n = published++
  theContender().publish(sessionId, body(n, TEXTS[n % TEXTS.length] ?? ''))
  return n
}

/** The output of a simulated model, which yields each token of a job at its time. */
class Tokens implements AsyncIterable<string> {
  text = ''
  #waiting: string[] = []
  #wake: (() => void) | undefined
  #ended = false

  push (token: string): void {
    this.text += token
    this.#waiting.push(token)
    this.#wake?.()
  }

  end (): void {
    this.#ended = true
    this.#wake?.()
  }

  async * [Symbol.asyncIterator] (): AsyncGenerator<string, void, undefined> {
    for (;;) {
      const token = this.#waiting.shift()
      if (token !== undefined) yield token
      else if (this.#ended) return
      else await new Promise<void>((resolve) => { this.#wake = resolve })
    }
  }
}

const handlers = {
  async listen ({ name }: { name: string }): Promise<number> {
    contender = contenders[name]?.()
    return await theContender().listen()
  },

  /** Publishes at an interval. Returns the last message's number. */
  async publishEvery ({ intervalMs, count }: { intervalMs: number, count: number }): Promise<number> {
    const begin = performance.now()
    for (let i = 0; i < count; i++) {
      await sleep(Math.max(0, begin + i * intervalMs - performance.now()))
      publish('s0')
    }
    return published - 1
  },

  async connections ({ count, timeoutMs }: { count: number, timeoutMs: number }): Promise<void> {
    const end = performance.now() + timeoutMs
    while (theContender().connections() !== count) {
      if (performance.now() > end) throw new Error(`${theContender().connections()} connections instead of ${count}`)
      await sleep(20)
    }
  },

  /** Starts the measurement. Stalls are measured only on request, because that wakes the process every millisecond. */
  watch ({ stalls }: { stalls: boolean }): void {
    delay = stalls ? monitorEventLoopDelay({ resolution: 1 }) : undefined
    delay?.enable()
    cpuBefore = process.cpuUsage()
  },

  watched (): { cpuMicros: number, stallMicros: number } {
    const { user, system } = process.cpuUsage(cpuBefore)
    delay?.disable()
    return { cpuMicros: user + system, stallMicros: (delay?.max ?? NaN) / 1000 }
  },

  /** Publishes far more than the history may keep. Returns the maximum that it kept. */
  async fill ({ bytes, messageBytes, sessions }: FillOptions): Promise<{ mostBytes: number, heapBytes: number, messages: number }> {
    const memory = async (): Promise<number> => {
      for (let i = 0; i < 5; i++) {
        global.gc?.()
        await sleep(20)
      }
      const { heapUsed, external } = process.memoryUsage()
      return heapUsed + external
    }
    const before = await memory()
    const count = Math.ceil(bytes / messageBytes)
    let mostBytes = 0
    for (let i = 0; i < count; i++) {
      theContender().publish(`s${i % sessions}`, body(i, text(messageBytes, i)))
      if (i % LOOKS !== 0) continue
      mostBytes = Math.max(mostBytes, theContender().historyBytes?.() ?? NaN)
      await new Promise((resolve) => { setImmediate(resolve) })
    }
    return { mostBytes, heapBytes: await memory() - before, messages: count }
  },

  /** Runs jobs that stream text. Returns the digest of each. */
  async stream ({ jobs, tokensPerSecond, seconds }: StreamOptions): Promise<{ digests: string[], units: number }> {
    const sources = Array.from({ length: jobs }, () => new Tokens())
    const runs = sources.map((tokens, at) => theContender().stream(`s${at}`, tokens))
    const begin = performance.now()
    for (let sent = 0; sent < tokensPerSecond * seconds;) {
      await sleep(Math.max(1, begin + sent * 1000 / tokensPerSecond - performance.now()))
      const due = Math.min(tokensPerSecond * seconds, Math.floor((performance.now() - begin) * tokensPerSecond / 1000) + 1)
      const token = ` ${stamp()}`
      for (; sent < due; sent++) for (const tokens of sources) tokens.push(token)
    }
    for (const tokens of sources) tokens.end()
    await Promise.all(runs)
    return {
      digests: sources.map((tokens) => createHash('sha1').update(tokens.text).digest('hex')),
      units: jobs * tokensPerSecond * seconds * TOKEN_UNITS
    }
  }
}

export type RecoveryServerHandlers = typeof handlers

serve(handlers)
