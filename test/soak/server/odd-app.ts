import { Writable } from 'node:stream'
import Fastify from 'fastify'
import aiCanvasWs, { type Identity } from 'ai-canvas-ws'
import { Random } from '../random.js'
import { listen, serve, stateOf } from './channel.js'
import type { ServerConfig } from './messages.js'
import { oddBatcher, oddCall, oddEnd } from './odd-calls.js'
import { oddAnswer } from './odd-values.js'

// An app whose code is full of faults: its hooks throw, never settle and return what they should not, and it calls the
// manager with odd values. Hooks that are asked about `odd…` are odd, others behave.

const config = JSON.parse(process.argv[2]!) as ServerConfig
const random = new Random(config.generation)
const isOdd = (text: unknown): boolean => typeof text === 'string' && text.startsWith('odd')

// It logs, because what is thrown must be written down, and nobody reads it.
const app = Fastify({ logger: { level: 'info', stream: new Writable({ write: (_chunk, _encoding, done) => { done() } }) } })
await app.register(aiCanvasWs, {
  authenticate: (_request, { token }) => isOdd(token) ? oddAnswer(random) as Identity : { userId: token ?? 'nobody' },
  authorize: (_identity, { sessionId }) => isOdd(sessionId) ? oddAnswer(random) as boolean : true,
  onMessage: () => oddAnswer(random),
  onCancel: () => oddAnswer(random),
  closeTimeoutMs: config.closeTimeoutMs,
  limits: { authTimeoutMs: 200, burst: 10_000, messagesPerSecond: 10_000, sessionsPerConnection: 10_000, connectionsPerUser: 1_000 },
  jobs: { stallAfterMs: config.stallAfterMs }
})

serve({
  /** Random calls, and then an end for each of these sessions. */
  async odd ({ seed, calls, sessions }: { seed: number, calls: number, sessions: readonly string[] }) {
    const random = new Random(seed)
    for (let i = 0; i < calls; i++) await oddCall(app.wsManager, random)
    oddBatcher(app.wsManager, random)
    await Promise.all(sessions.map((sessionId) => oddEnd(app.wsManager, random, sessionId)))
    // What is published now comes behind all that.
    await Promise.all(sessions.map((sessionId) => app.wsManager.broadcastToSession(sessionId, { type: 'note' })))
  },
  state: ({ collectGarbage }: { collectGarbage: boolean }) => stateOf(app, collectGarbage)
})

await listen(app)
