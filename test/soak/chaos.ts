import { randomBytes } from 'node:crypto'
import { connect, type Socket } from 'node:net'
import { Ledger, lastNumberOf } from './ledger.js'
import { Line } from './line.js'
import { Random } from './random.js'
import { scheduleOf, type Step } from './schedule.js'
import { buildServer, ServerProcess } from './server-process.js'
import { Journal } from './soak-failure.js'
import { LibraryTab } from './tabs/library-tab.js'
import { RawTab } from './tabs/raw-tab.js'
import type { Heads, Tab } from './tabs/tab.js'
import { wireInput } from './wire-inputs.js'
import { mannerOf, mayRead, SESSIONS, USERS } from './world.js'

export interface ChaosOptions {
  readonly seed: number
  /** Duration of the schedule, in milliseconds. The checks and the shutdown take additional time. */
  readonly durationMs: number
  /** Maximum duration of a network fault, in milliseconds. Above 35 s the client detects a half-open connection by itself. */
  readonly maxFaultMs: number
}

export interface ChaosTotals {
  deliveries: number
  jobs: number
  tabs: number
  steps: number
  kills: number
  restarts: number
}

const CLOSE_TIMEOUT_MS = 1_000
const STALL_AFTER_MS = 1_500
const MAX_TABS = 18
const MAX_STEPS_WITHOUT_SERVER = 10
/** Timeout of each final check. It is far above what a busy machine needs, so that only a condition that never holds exceeds it. */
const SETTLE_MS = 30_000
/** Memory that a server may use at the end in addition to its history and to what it used at its start. */
const MEMORY_MARGIN_BYTES = 64 * 1024 * 1024

/** A run with a server that is killed, restarted and attacked, and with readers behind bad networks that must still receive everything. */
class Chaos {
  readonly totals: ChaosTotals = { deliveries: 0, jobs: 0, tabs: 0, steps: 0, kills: 0, restarts: 0 }
  readonly #options: ChaosOptions
  readonly #journal: Journal
  readonly #ledger: Ledger
  readonly #random: Random
  readonly #tabs: Tab[] = []
  readonly #strangers = new Set<Socket>()
  readonly #timers = new Set<NodeJS.Timeout>()
  #server: ServerProcess
  #generation = 0
  #baseline = 0
  #restarting: Promise<void> | undefined
  #guests = 0
  #isOver = false

  constructor (options: ChaosOptions) {
    const { seed, durationMs, maxFaultMs } = options
    this.#options = options
    this.#random = new Random(seed + 1)
    this.#journal = new Journal(`npm run soak -- --replay --only chaos --seed ${seed} --round-ms ${durationMs} --fault-ms ${maxFaultMs}`)
    this.#ledger = new Ledger(this.#journal)
    this.#server = this.#start()
  }

  async run (): Promise<ChaosTotals> {
    try {
      await Promise.race([this.#journal.failed, this.#everything()])
    } finally {
      this.#isOver = true
      for (const timer of this.#timers) clearTimeout(timer)
      for (const tab of this.#tabs) {
        tab.close()
        tab.line.close()
      }
      for (const socket of this.#strangers) socket.destroy()
      await this.#server.kill()
    }
    this.totals.deliveries = this.#ledger.deliveries
    return this.totals
  }

  async #everything (): Promise<void> {
    await this.#ready()
    for (const userId of USERS) for (let i = 0; i < 3; i++) await this.#open(userId)
    let startedAt = performance.now()
    let stepsWithoutServer = 0
    for (const step of scheduleOf(this.#options.seed, this.#options.durationMs)) {
      const waitMs = step.at - (performance.now() - startedAt)
      if (waitMs > 0) await new Promise((resolve) => { setTimeout(resolve, waitMs) })
      if (this.#isOver) return
      stepsWithoutServer = this.#restarting === undefined ? 0 : stepsWithoutServer + 1
      if (stepsWithoutServer > MAX_STEPS_WITHOUT_SERVER) {
        // On a busy machine a server takes seconds to start. The schedule pauses meanwhile, because steps without a server test nothing.
        const stoppedAt = performance.now()
        await this.#restarting
        startedAt += performance.now() - stoppedAt
      }
      await this.#do(step)
    }
    await this.#settle()
    await this.#end()
  }

  async #do ({ name, seed }: Step): Promise<void> {
    this.totals.steps++
    const random = new Random(seed)
    const tab = random.pick(this.#tabs)
    const sessionId = random.pick(SESSIONS)
    const faultMs = random.between(20, Math.floor(this.#options.maxFaultMs * random.next()) + 20)
    const note = (detail: string): void => { this.#journal.note(`${name} ${detail}`) }
    switch (name) {
      case 'job': this.#job(random, sessionId); break
      case 'note': note(sessionId); void this.#server.call('note', sessionId); break
      case 'noteToUser': note(tab.userId); void this.#server.call('noteToUser', tab.userId); break
      case 'fleeting': note(sessionId); void this.#server.call('fleeting', sessionId); break
      case 'cancel': {
        note(`${tab.name} ${sessionId}`)
        if (mayRead(tab.userId, sessionId)) tab.cancel(sessionId)
        else void this.#server.call('cancel', sessionId)
        break
      }
      case 'open': {
        const isGuest = random.chance(0.5)
        const userId = random.pick(USERS)
        if (this.#tabs.length < MAX_TABS) await this.#open(isGuest ? `${userId}-${++this.#guests}` : userId)
        break
      }
      case 'close': {
        if (this.#tabs.length < 6) break
        note(tab.name)
        this.#tabs.splice(this.#tabs.indexOf(tab), 1)
        tab.close()
        tab.line.close()
        break
      }
      case 'follow': note(`${tab.name} ${sessionId}`); if (this.#mayFollow(tab, sessionId)) tab.follow(sessionId); break
      case 'leave': if (tab.subscriptions.length > 1) { note(tab.name); tab.leave(random.pick(tab.subscriptions)) } break
      case 'askAgain': if (tab.subscriptions.length > 0) { note(tab.name); tab.askAgain(random.pick(tab.subscriptions)) } break
      case 'trespass': if (!mayRead(tab.userId, sessionId)) { note(`${tab.name} ${sessionId}`); tab.trespass(sessionId) } break
      case 'pause': note(`${tab.name} for ${faultMs} ms`); tab.pause(faultMs); break
      case 'cut': note(tab.name); tab.line.cut(); break
      case 'stall': note(`${tab.name} for ${faultMs} ms`); tab.line.stall(); this.#later(faultMs, () => { tab.line.heal() }); break
      case 'swallow': note(`${tab.name} for ${faultMs} ms`); tab.line.swallow(); this.#later(faultMs, () => { tab.line.heal() }); break
      case 'throttle': note(`${tab.name} for ${faultMs} ms`); tab.line.throttle(random.between(2_000, 500_000)); this.#later(faultMs, () => { tab.line.heal() }); break
      case 'revoke': void this.#revoke(random); break
      case 'garbage': this.#garbage(random); break
      case 'mute': this.#mute(random.pick(USERS), sessionId); break
      case 'kill': case 'restart': note(''); this.#replace(name); break
    }
  }

  #job (random: Random, sessionId: string): void {
    const isLarge = random.chance(0.08)
    const order = {
      sessionId,
      manner: mannerOf(sessionId),
      script: { key: random.seed(), length: isLarge ? random.between(50_000, 200_000) : random.between(0, 4_000) },
      pieces: random.between(1, 40),
      pauseMs: random.pick([0, 1, 5, 20, 40]),
      throttleMs: random.pick([0, 10, 100]),
      api: random.pick(['handle', 'tracked', 'explicit'] as const),
      ending: random.weighted({ complete: 70, error: 22, silence: 8 }),
      seed: random.seed()
    } as const
    this.totals.jobs++
    this.#journal.note(`job ${JSON.stringify(order)}`)
    void this.#server.call('job', order)
  }

  async #open (userId: string, sessionId?: string): Promise<Tab> {
    const random = new Random(this.#random.seed())
    const sessions = sessionId === undefined ? SESSIONS.filter((each) => mayRead(userId, each) && random.chance(0.6)) : [sessionId]
    const line = await Line.open(() => this.#server.port)
    // Nothing would close a tab that is opened after the end of the run.
    if (this.#journal.failure !== undefined) {
      line.close()
      throw this.#journal.failure
    }
    const name = `tab-${this.totals.tabs++}`
    const Kind = random.chance(0.5) ? RawTab : LibraryTab
    this.#journal.note(`open ${name} of ${userId} (${Kind.name}) for ${sessions.join(', ')}`)
    const tab = new Kind({ name, userId, line, random, journal: this.#journal, ledger: this.#ledger, sessions })
    this.#tabs.push(tab)
    return tab
  }

  #mayFollow ({ userId }: Tab, sessionId: string): boolean {
    return mayRead(userId, sessionId) && !this.#ledger.isRevoked(userId, sessionId)
  }

  /**
   * Revokes a right of a guest. Only guests lose rights, so that enough readers are left. A guest that lost all rights is not used
   * again.
   */
  async #revoke (random: Random): Promise<void> {
    const guests = this.#tabs.filter(({ userId }) => userId.includes('-') && !this.#ledger.isRevoked(userId))
    if (guests.length === 0) return
    const { userId, subscriptions } = random.pick(guests)
    await this.#takeRight(userId, subscriptions.length > 0 && random.chance(0.6) ? random.pick(subscriptions) : undefined)
  }

  async #takeRight (userId: string, sessionId: string | undefined): Promise<void> {
    const generation = this.#generation
    this.#journal.note(`revoke ${userId} ${sessionId ?? ''}`)
    // From now on the server may refuse the reader. The last message that it may read is known when the call has returned.
    this.#ledger.revoke(userId, sessionId, Infinity)
    const last = await this.#server.call('revoke', { userId, sessionId })
    this.#ledger.revoke(userId, sessionId, last ?? lastNumberOf(generation))
  }

  /** Connects a client that sends invalid bytes. */
  #garbage (random: Random): void {
    const input = wireInput(random)
    this.#journal.note(`garbage ${input.label}`)
    const socket = this.#stranger()
    if (socket === undefined) return
    socket.resume()
    for (const part of input.parts) socket.write(part)
    this.#later(random.between(1, 500), () => { socket.destroy() })
  }

  /** Connects a client that subscribes to a session and reads nothing. */
  #mute (userId: string, sessionId: string): void {
    this.#journal.note(`mute ${userId} ${sessionId}`)
    this.#stranger()?.write([
      `GET /ws?token=${userId}&sessionId=${encodeURIComponent(sessionId)} HTTP/1.1`, 'Host: localhost', 'Connection: Upgrade', 'Upgrade: websocket',
      'Sec-WebSocket-Version: 13', `Sec-WebSocket-Key: ${randomBytes(16).toString('base64')}`, '', ''
    ].join('\r\n'))
  }

  #stranger (): Socket | undefined {
    const { port } = this.#server
    if (port === undefined || this.#strangers.size > 50) return undefined
    const socket = connect(port, '127.0.0.1')
    socket.pause()
    this.#strangers.add(socket)
    socket.on('error', () => { /* the close event follows */ })
    socket.on('close', () => { this.#strangers.delete(socket) })
    return socket
  }

  #replace (how: 'kill' | 'restart'): void {
    if (this.#restarting !== undefined) return
    this.totals[how === 'kill' ? 'kills' : 'restarts']++
    this.#restarting = (async () => {
      await this.#server[how]()
      this.#ledger.forgetEnds()
      // A run that has failed meanwhile starts no further server, because nothing would stop it.
      if (this.#isOver) return
      this.#generation++
      this.#server = this.#start()
      await this.#ready()
      this.#restarting = undefined
    })()
    this.#restarting.catch(() => { /* the journal has recorded the failure */ })
  }

  #start (): ServerProcess {
    return new ServerProcess({
      generation: this.#generation, revoked: this.#ledger.revoked, closeTimeoutMs: CLOSE_TIMEOUT_MS, stallAfterMs: STALL_AFTER_MS
    }, this.#journal, (list, endedJobs) => { this.#ledger.published(list, endedJobs) })
  }

  async #ready (): Promise<void> {
    await Promise.race([this.#server.listening, this.#journal.failed])
    this.#journal.note('the server listens')
    const state = await this.#server.call('state', { collectGarbage: true })
    if (state !== undefined) this.#baseline = state.memoryBytes
  }

  #later (ms: number, work: () => void): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer)
      work()
    }, ms)
    this.#timers.add(timer)
  }

  /** Ends all faults. Every tab must then receive everything. */
  async #settle (): Promise<void> {
    this.#journal.note('peace')
    await this.#restarting
    for (const timer of this.#timers) clearTimeout(timer)
    for (const { line } of this.#tabs) line.heal()
    for (const socket of this.#strangers) socket.destroy()
    await this.#journal.until('every job ends', async () => (await this.#server.call('state', { collectGarbage: false }))?.runningJobs === 0, SETTLE_MS)
    for (const tab of this.#tabs) tab.trespass(SESSIONS.find((sessionId) => !mayRead(tab.userId, sessionId))!)
    await this.#revokeReaders()
    for (const sessionId of SESSIONS) await this.#server.call('note', sessionId)
    for (const userId of new Set(this.#tabs.map(({ userId }) => userId))) await this.#server.call('noteToUser', userId)
    const state = await this.#server.call('state', { collectGarbage: false })
    const heads: Heads = new Map((state?.heads ?? []).map(([stream, epoch, seq]) => [stream, { epoch, seq }]))
    const missing = (): string[] => this.#tabs.flatMap((tab) => {
      const lacks = tab.missing(heads)
      return lacks === undefined ? [] : [`${tab.name} (${tab.constructor.name}, ${tab.userId}): ${lacks}`]
    })
    await this.#journal.until('every tab comes to know everything, and no job spins for ever', () => missing().length === 0, SETTLE_MS, () => missing().join('\n'))
  }

  /** Revokes rights of readers that are connected and subscribed. In the schedule, a restart may disconnect them instead of `revoke`. */
  async #revokeReaders (): Promise<void> {
    const sessionId = 'all:plain:0'
    const guests = await Promise.all(Array.from({ length: 6 }, (_, i) => this.#open(`ada-last${i}`, sessionId)))
    await this.#journal.until('a guest follows', () => guests.every((tab) => tab.subscriptions.includes(sessionId) && tab.missing(new Map()) === undefined), SETTLE_MS)
    await Promise.all(guests.map(({ userId }, i) => this.#takeRight(userId, i % 2 === 0 ? sessionId : undefined)))
  }

  /** Disconnects all clients. The server must then release everything that it kept for them. */
  async #end (): Promise<void> {
    this.#journal.note('everybody leaves')
    for (const tab of this.#tabs) {
      tab.close()
      tab.line.close()
    }
    let last = ''
    await this.#journal.until('no connection and no socket is left', async () => {
      const state = await this.#server.call('state', { collectGarbage: false })
      last = JSON.stringify({ ...state, heads: undefined })
      return state?.connections === 0 && state.sockets === 0 && state.bufferedBytes === 0
    }, SETTLE_MS, () => last)
    await this.#journal.until('the server\'s memory returns near its start', async () => {
      const state = await this.#server.call('state', { collectGarbage: true })
      last = `${JSON.stringify({ ...state, heads: undefined })}, at its start it held ${this.#baseline}`
      return state !== undefined && state.memoryBytes - this.#baseline < 2 * state.historyBytes + MEMORY_MARGIN_BYTES
    }, SETTLE_MS, () => last)
    await this.#server.restart()
  }
}

/** Runs one round. Rejects with a `SoakFailure` when an invariant breaks. */
export async function runChaos (options: ChaosOptions): Promise<ChaosTotals> {
  await buildServer()
  return new Chaos(options).run()
}
