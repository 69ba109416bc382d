import { createClient } from 'ai-canvas-ws/client'
import { WebSocket } from 'ws'

const { AI_CANVAS_URL = 'ws://localhost:3001/ws', TOKEN } = process.env
const [sessionId] = process.argv.slice(2)
if (sessionId === undefined) throw new Error('usage: npm start -- <session>')

// Node.js has a global WebSocket since version 22. The one of ws reports why a connection failed.
const client = createClient({ url: AI_CANVAS_URL, getToken: () => TOKEN, WebSocket })
const started = new Set<string>()
let written = 0

const stop = client.jobStore(sessionId).subscribe(({ latest: job, subscription }) => {
  if (subscription === 'refused') end(1, 'you may not follow this session')
  if (job === undefined) return
  if (!started.has(job.jobId)) {
    started.add(job.jobId)
    written = 0
  }
  // The store has the whole text, including the missed parts. Only its end is new.
  process.stdout.write(job.text.slice(written))
  written = job.text.length
  if (job.status === 'complete') end(0, 'complete')
  else if (job.status === 'error') end(1, `${job.error?.type ?? 'error'}: ${job.error?.message ?? ''}`)
})

client.on('error', ({ message }) => { console.error(message) })
client.on('state', ({ state, reason }) => {
  if (state === 'waiting') console.error(`reconnecting (${reason ?? 'lost'})`)
  // The client gave up, or the server refuses it.
  if (state === 'closed' && reason !== 'called') end(2, `closed (${reason ?? ''})`)
})
// Disconnecting does not cancel the job, so the first Ctrl+C stops the job. A second one exits at once.
process.once('SIGINT', () => { client.cancel(sessionId) })

function end (code: number, message: string): void {
  console.error(`\n${message}`)
  process.exitCode = code
  // The store may call this before `subscribe` has returned.
  queueMicrotask(() => {
    stop()
    client.close()
  })
}
