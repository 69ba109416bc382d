import { Acknowledgements } from '../acknowledgements.js'
import { body, text } from '../payload.js'
import { serve } from '../rpc.js'
import type { Contender, ContenderOptions, Kind } from './contender.js'

// The measured process. All contenders run in this harness, and it takes the measurements itself.

const contenders: Record<string, () => Promise<(options: ContenderOptions) => Contender>> = {
  ours: async () => (await import('./ours.js')).ours,
  ws: async () => (await import('./ws.js')).wsLoop,
  'socket.io': async () => (await import('./socket-io.js')).socketIo,
  crossws: async () => (await import('./crossws.js')).crosswsTopics,
  bare: async () => (await import('./fastify-websocket.js')).bareHandler,
  floor: async () => (await import('./floor.js')).floor
}

export interface Plan {
  readonly kind: Kind
  /** Sessions in order: `s0`, `s1`, … With a stride of 20: `s0`, `s20`, `s40` … and then `s1`, `s21` … */
  readonly sessions: number
  readonly stride: number
  readonly publicationsPerTick: number
  readonly ticks: number
  readonly bodyBytes: number
  /** Measures memory at each tick. Used only in rows about memory, because inspecting all connections takes time. */
  readonly watchesMemory?: boolean
}

export interface Usage {
  readonly cpuMicros: number
  readonly wallMicros: number
  /** Peak memory of this process: at the end and, with `watchesMemory`, before each tick. */
  readonly peakRssBytes: number
  readonly peakWaitingBytes: number
  /** Number of slow consumers that were disconnected. */
  readonly slowConsumers: number
}

export interface Memory {
  readonly rssBytes: number
  /** The heap and its external memory (buffers). zlib's contexts are in neither. */
  readonly heapBytes: number
  readonly externalBytes: number
}

const TICK_TIMEOUT_MS = 30_000
/** Number of different texts, which are created before the measurement starts. */
const TEXTS = 16

const acknowledgements = new Acknowledgements()
let contender: Contender | undefined
let published = 0

/** Publishes one tick after another, each when all sockets have received the previous one. Returns the measurements. */
function publishAll (target: Contender, plan: Plan): Promise<Usage> {
  const { kind, sessions, stride, publicationsPerTick, ticks, bodyBytes, watchesMemory = false } = plan
  const texts = Array.from({ length: TEXTS }, (_, turn) => text(bodyBytes, turn * 37))
  const ids = Array.from({ length: sessions }, (_, at) => `s${at}`)
  const perLap = sessions / stride
  return new Promise((resolve, reject) => {
    let tick = 0
    let peakRssBytes = 0
    let peakWaitingBytes = 0
    const timer = setTimeout(() => { end(() => { reject(new Error(`tick ${tick} of ${ticks} did not arrive: a message is missing`)) }) }, TICK_TIMEOUT_MS)
    const wallBefore = process.hrtime.bigint()
    const before = process.cpuUsage()

    function next (): void {
      if (watchesMemory) {
        peakRssBytes = Math.max(peakRssBytes, process.memoryUsage.rss())
        peakWaitingBytes = Math.max(peakWaitingBytes, target.waitingBytes?.() ?? 0)
      }
      timer.refresh()
      if (tick++ === ticks) {
        const { user, system } = process.cpuUsage(before)
        const wallMicros = Number((process.hrtime.bigint() - wallBefore) / 1000n)
        peakRssBytes = Math.max(peakRssBytes, process.memoryUsage.rss())
        end(() => { resolve({ cpuMicros: user + system, wallMicros, peakRssBytes, peakWaitingBytes, slowConsumers: target.slowConsumers?.() ?? 0 }) })
        return
      }
      for (let i = 0; i < publicationsPerTick; i++) {
        const n = published++
        const lap = Math.floor(n / perLap)
        target.publish(ids[n % perLap * stride + lap % stride]!, kind, body(n, texts[n % TEXTS]!))
      }
      target.endOfTick?.()
    }

    function end (done: () => void): void {
      clearTimeout(timer)
      acknowledgements.listener(undefined)
      done()
    }

    acknowledgements.listener(next)
    next()
  })
}

const handlers = {
  async listen ({ name, ...options }: ContenderOptions & { name: string }): Promise<{ port: number, ackPort: number }> {
    const load = contenders[name]
    if (load === undefined) throw new Error(`unknown contender ${name}`)
    contender = (await load())(options)
    await acknowledgements.listen()
    return { port: await contender.listen(), ackPort: acknowledgements.port }
  },

  async publish (plan: Plan): Promise<Usage> {
    if (contender === undefined) throw new Error('call listen first')
    return await publishAll(contender, plan)
  },

  /** Returns the CPU time since the process began, for work that the load generator drives. */
  cpu (): number {
    const { user, system } = process.cpuUsage()
    return user + system
  },

  async memory (): Promise<Memory> {
    // Finalizers and zlib's handles need turns of the event loop between collections.
    for (let i = 0; i < 5; i++) {
      global.gc?.()
      await new Promise((resolve) => { setTimeout(resolve, 50) })
    }
    const { rss, heapUsed, external } = process.memoryUsage()
    return { rssBytes: rss, heapBytes: heapUsed, externalBytes: external }
  }
}

export type ServerHandlers = typeof handlers

serve(handlers)
