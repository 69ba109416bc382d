import { AsyncLocalStorage } from 'node:async_hooks'
import { setImmediate as turn } from 'node:timers/promises'
import Fastify from 'fastify'
import { WebSocket } from 'ws'
import aiCanvasWs from 'ai-canvas-ws'
import { memoryInUse } from '../memory.js'

// An app in which each request has a store. It counts the stores that are still in memory while connections, timers and a batch
// exist. It runs in its own process, because tap tracks asynchronous resources and would therefore keep the stores.
const CONNECTIONS = 40
const storage = new AsyncLocalStorage<object>()
const stores: Array<WeakRef<object>> = []
const app = Fastify()
app.addHook('onRequest', (_request, _reply, done) => {
  const store = {}
  stores.push(new WeakRef(store))
  storage.run(store, done)
})
await app.register(aiCanvasWs, {
  authenticate: async () => {
    await turn()
    return { userId: 'u', expiresAt: Date.now() + 3_600_000 }
  },
  authorize: async () => {
    await turn()
    return true
  }
})
// Starts the flush, the watchdog, the sweep of the history, and a batch that waits for an hour.
app.get('/notify', async () => {
  app.wsManager.createBatcher('s', { intervalMs: 3_600_000 }).push({ type: 'mine' })
  return app.wsManager.notifyAIStart('s', {})
})
const origin = await app.listen({ port: 0, host: '127.0.0.1' })

await app.inject('/notify')
const clients = Array.from({ length: CONNECTIONS }, () => new WebSocket(`${origin.replace('http', 'ws')}/ws?sessionId=s`))
await Promise.all(clients.map((client) => new Promise((resolve) => { client.once('message', resolve) })))

const alive = (): number => stores.filter((store) => store.deref() !== undefined).length
for (let tries = 0; tries < 50 && alive() > 0; tries++) {
  await turn()
  memoryInUse()
}
process.stdout.write(`${app.wsManager.getStats().totalConnections} connections, ${stores.length} stores, ${alive()} in memory\n`)
process.exit()
