import { WebSocket } from 'ws'
import type { Message } from '../support/ws-client.js'
import { Random } from './random.js'
import { buildServer, ServerProcess } from './server-process.js'
import { Journal } from './soak-failure.js'
import { readMessage } from './tabs/tab.js'

export interface ApiFuzzOptions {
  readonly seed: number
  readonly rounds: number
}

export interface ApiFuzzTotals { rounds: number, calls: number, jobs: number, hooks: number }

const CALLS_PER_ROUND = 60
const JOBS_PER_ROUND = 12
const STRANGERS_PER_ROUND = 4
const PATIENCE_MS = 30_000

/** Calls the API of a real server with invalid values, while one client follows the jobs and others trigger the app's faulty hooks. */
export async function fuzzApi ({ seed, rounds }: ApiFuzzOptions): Promise<ApiFuzzTotals> {
  await buildServer()
  const journal = new Journal(`npm run soak -- --replay --only api --seed ${seed} --rounds ${rounds}`)
  const totals: ApiFuzzTotals = { rounds: 0, calls: 0, jobs: 0, hooks: 0 }
  // No job stalls, so that every end must come from the call that reported it.
  const config = { generation: seed, revoked: [], closeTimeoutMs: 1_000, stallAfterMs: 3_600_000 }
  const server = new ServerProcess(config, journal, () => { /* this app does not report numbered messages */ }, 'odd-app')
  const work = async (): Promise<void> => {
    await server.listening
    const random = new Random(seed)
    const watcher = new Watcher(server, journal)
    for (let round = 0; round < rounds; round++) {
      const sessions = Array.from({ length: JOBS_PER_ROUND }, (_, i) => `fuzz:${round}:${i}`)
      const oddSeed = random.seed()
      journal.note(`round ${round}, seed ${oddSeed}`)
      await watcher.follow(sessions)
      const strangers = Array.from({ length: STRANGERS_PER_ROUND }, () => provoke(server, random, journal))
      await Promise.all([server.call('odd', { seed: oddSeed, calls: CALLS_PER_ROUND, sessions }), ...strangers])
      await watcher.ended(sessions)
      totals.rounds++
      totals.calls += CALLS_PER_ROUND
      totals.jobs += JOBS_PER_ROUND
      totals.hooks += STRANGERS_PER_ROUND * 5
    }
    watcher.close()
    let last = ''
    await journal.until('no connection is left', async () => {
      const state = await server.call('state', { collectGarbage: false })
      last = JSON.stringify(state)
      return state?.connections === 0 && state.sockets === 0
    }, PATIENCE_MS, () => last)
    await server.restart()
  }
  try {
    await Promise.race([journal.failed, work()])
  } finally {
    await server.kill()
  }
  return totals
}

/** A well-behaved client that tracks how the jobs end. */
class Watcher {
  readonly #ws: WebSocket
  readonly #journal: Journal
  readonly #greeted = new Set<string>()
  readonly #noted = new Set<string>()
  readonly #running = new Map<string, string>()
  readonly #ended = new Set<string>()

  constructor ({ port }: ServerProcess, journal: Journal) {
    this.#journal = journal
    this.#ws = new WebSocket(`ws://127.0.0.1:${String(port)}/ws?token=watcher`)
    this.#ws.on('message', (data: Buffer) => { this.#take(readMessage(data.toString(), journal, 'any')) })
    this.#ws.on('error', () => { /* the close event follows */ })
    this.#ws.on('close', (code) => { journal.fail('a client that behaves stays connected', `closed with ${code}`) })
  }

  async follow (sessions: readonly string[]): Promise<void> {
    await this.#journal.until('the watcher connects', () => this.#greeted.has(''), PATIENCE_MS)
    for (const sessionId of sessions) this.#ws.send(JSON.stringify({ type: 'subscribe', sessionId }))
    await this.#journal.until('a subscribe is answered', () => sessions.every((sessionId) => this.#greeted.has(sessionId)), PATIENCE_MS)
  }

  /** Waits for the app's last message in each of these sessions. The session's job must have ended by then. */
  async ended (sessions: readonly string[]): Promise<void> {
    await this.#journal.until('a session\'s message arrives', () => sessions.every((sessionId) => this.#noted.has(sessionId)), PATIENCE_MS)
    const spinning = [...this.#running].map(([jobId, text]) => `${jobId}: ${text}`)
    if (spinning.length > 0) this.#journal.fail('a job that a documented call ended does not spin for ever', spinning.join('\n'))
    for (const sessionId of sessions) this.#ws.send(JSON.stringify({ type: 'unsubscribe', sessionId }))
  }

  close (): void {
    this.#ws.removeAllListeners('close')
    this.#ws.terminate()
  }

  #take (message: Message): void {
    const { type, sessionId = '', jobId } = message as { type: string, sessionId?: string, jobId?: string }
    if (type === 'connection' || type === 'subscribed') this.#greeted.add(sessionId)
    if (type === 'note') this.#noted.add(sessionId)
    const key = `${sessionId} ${String(jobId)}`
    if (type === 'ai_start' || type === 'ai_progress') {
      if (this.#ended.has(key)) this.#journal.fail('nothing follows a job\'s end', JSON.stringify(message))
      this.#running.set(key, JSON.stringify(message).slice(0, 300))
    }
    if (type !== 'ai_complete' && type !== 'ai_error') return
    if (this.#ended.has(key)) this.#journal.fail('a job has exactly one end', JSON.stringify(message).slice(0, 300))
    this.#ended.add(key)
    this.#running.delete(key)
  }
}

/** Connects a client that triggers the app's faulty hooks. The server must refuse it, or serve it and reply to each of its requests. */
async function provoke ({ port }: ServerProcess, random: Random, journal: Journal): Promise<void> {
  const token = random.chance(0.5) ? 'odd' : 'guest'
  const ws = new WebSocket(`ws://127.0.0.1:${String(port)}/ws?token=${token}&sessionId=${random.pick(['odd:1', 'fuzz'])}`)
  const answers: Message[] = []
  let isClosed = false
  ws.on('error', () => { /* the close event follows */ })
  ws.on('close', () => { isClosed = true })
  ws.on('message', (data: Buffer) => { answers.push(readMessage(data.toString(), journal, 'any')) })
  await journal.until('a client is admitted or refused', () => isClosed || answers.length > 0, PATIENCE_MS, () => token)
  const answered = (type: string): Message | undefined => answers.find((answer) => answer.type === type || (answer.type === 'error' && answer.request === type))
  // A refused connection sends no requests, so it lacks no replies.
  if (ws.readyState === WebSocket.OPEN) {
    ws.send('{"type":"subscribe","sessionId":"odd:2"}')
    ws.send('{"type":"cancel","sessionId":"odd:3","jobId":"job"}')
    ws.send('{"type":"dance"}')
  }
  const isAnswered = (): boolean => (answered('subscribed') ?? answered('subscribe')) !== undefined && (answered('cancelling') ?? answered('cancel')) !== undefined
  await journal.until('a request is answered whatever the hooks do', () => isClosed || isAnswered(), PATIENCE_MS, () => JSON.stringify(answers))
  ws.terminate()
}
