import Fastify from 'fastify'
import aiCanvasWs from 'ai-canvas-ws'

// An app that is ready and was never closed: its heartbeat beats, and nothing but that would keep the process alive.
const app = Fastify()
await app.register(aiCanvasWs, { heartbeatIntervalMs: 300 })
await app.ready()
process.stdout.write('ready\n')
