import { Writable } from 'node:stream'
import Fastify from 'fastify'
import aiCanvasWs, { type Identity } from 'ai-canvas-ws'
import { Random } from '../random.js'
import { listen, serve, stateOf } from './channel.js'
import type { ServerConfig } from './messages.js'
import { oddBatcher, oddCall, oddEnd } from './odd-calls.js'
import { oddAnswer } from './odd-values.js'

// A faulty app: its hooks throw, never settle or return invalid values, and it calls the manager with unexpected values.
// `authenticate` and `authorize` are faulty only for tokens and sessions that begin with `odd`.

const config = JSON.parse(process.argv[2]!) as ServerConfig
const random = new Random(config.generation)
const isOdd = (text: unknown): boolean => typeof text === 'string' && text.startsWith('odd')

// The logger must serialize whatever is thrown. Its output is discarded.
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
  /** Makes random calls, and then ends a job in each of these sessions. */
  async odd ({ seed, calls, sessions }: { seed: number, calls: number, sessions: readonly string[] }) {
    const random = new Random(seed)
    for (let i = 0; i < calls; i++) await oddCall(app.wsManager, random)
    oddBatcher(app.wsManager, random)
    await Promise.all(sessions.map((sessionId) => oddEnd(app.wsManager, random, sessionId)))
    // Messages that are published now follow all of these.
    await Promise.all(sessions.map((sessionId) => app.wsManager.broadcastToSession(sessionId, { type: 'note' })))
  },
  state: ({ collectGarbage }: { collectGarbage: boolean }) => stateOf(app, collectGarbage)
})

await listen(app)
