import Fastify from 'fastify'
import aiCanvasWs, { type Receipt } from 'ai-canvas-ws'
import { Random } from '../random.js'
import { mayRead, NUMBERS_PER_PROCESS } from '../world.js'
import { broken, isClosing, listen, serve, stateOf, tell } from './channel.js'
import type { JobOrder, Numbered, ServerConfig } from './messages.js'
import { Producers } from './producers.js'

// The app of a chaos run, in a process of its own that the run kills and restarts. `server-process.ts` starts it.

const config = JSON.parse(process.argv[2]!) as ServerConfig
const random = new Random(config.generation)
const revoked = new Set(config.revoked)
const heads = new Map<string, readonly [string, string, number]>()
let numbered: Numbered[] = []
let endedJobs: string[] = []
let n = config.generation * NUMBERS_PER_PROCESS

const isRevoked = (userId: string, sessionId: string): boolean => revoked.has(userId) || revoked.has(`${userId} ${sessionId}`)

const app = Fastify()
await app.register(aiCanvasWs, {
  authenticate: (_request, { token }) => token !== undefined && !revoked.has(token) && { userId: token },
  // Half of the calls take a moment, like a database query.
  authorize: async ({ userId = '' }, { sessionId }) => {
    if (random.chance(0.5)) await new Promise((resolve) => { setTimeout(resolve, random.below(20)) })
    return mayRead(userId, sessionId) && !isRevoked(userId, sessionId)
  },
  onCancel: ({ sessionId }) => producers.cancel(sessionId),
  closeTimeoutMs: config.closeTimeoutMs,
  heartbeatIntervalMs: 1_000,
  limits: { messagesPerSecond: 300, burst: 600 },
  delivery: { maxOutboxBytes: 256 * 1024, stallTimeoutMs: 5_000 },
  // Large enough that nothing is evicted within a run, so that a missing message is a lost one.
  history: { maxMessages: 100_000, maxBytes: 64 * 1024 * 1024, maxTotalBytes: 512 * 1024 * 1024 },
  jobs: { stallAfterMs: config.stallAfterMs }
})
const manager = app.wsManager

const accepted = (stream: string, n: number, { epoch, seq }: Receipt): void => {
  if (epoch === undefined || seq === undefined) {
    if (!isClosing()) broken('an accepted message has a place', `message ${n} of ${stream}`)
    return
  }
  const [, lastEpoch, lastSeq] = heads.get(stream) ?? [stream, epoch, 0]
  if (epoch !== lastEpoch || seq <= lastSeq) broken('the numbers of a stream go up', `${stream}: ${epoch}:${seq} behind ${lastEpoch}:${lastSeq}`)
  heads.set(stream, [stream, epoch, seq])
  numbered.push({ stream, epoch, seq, n })
}
const flush = setInterval(() => {
  if (numbered.length + endedJobs.length > 0) tell({ event: 'numbered', list: numbered, endedJobs })
  numbered = []
  endedJobs = []
}, 20)

const producers = new Producers({ manager, number: () => ++n, accepted, broken, ended: (jobId) => { endedJobs.push(jobId) }, stallAfterMs: config.stallAfterMs })

serve({
  job: (order: JobOrder) => producers.start(order),
  note (sessionId: string) {
    producers.send(`session:${sessionId}`, (n) => manager.broadcastToSession(sessionId, { type: 'note', n }))
  },
  noteToUser (userId: string) {
    producers.send(`user:${userId}`, (n) => manager.broadcastToUser(userId, { type: 'note', n, to: userId }))
  },
  /** Sends messages that are not numbered. */
  fleeting (sessionId: string) {
    void manager.broadcast({ type: 'weather' })
    void manager.broadcastToSession(sessionId, { type: 'cursor' }, { durable: false })
    const batcher = manager.createBatcher(sessionId, { intervalMs: 5 })
    batcher.push({ type: 'cursor', x: 1 })
    batcher.close()
  },
  cancel: (sessionId: string) => manager.cancelAI(sessionId),
  /** Revokes a right. Returns the number of the latest message that was published before the revocation took effect. */
  async revoke ({ userId, sessionId }: { userId: string, sessionId?: string }) {
    revoked.add(sessionId === undefined ? userId : `${userId} ${sessionId}`)
    await manager.revoke(userId, sessionId)
    return n
  },
  state: ({ collectGarbage }: { collectGarbage: boolean }) => stateOf(app, collectGarbage, { runningJobs: producers.running, heads: [...heads.values()] })
})

await listen(app, () => { clearInterval(flush) })
