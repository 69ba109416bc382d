import Fastify from 'fastify'
import aiCanvasWs from 'ai-canvas-ws'

// An app that is ready and never closed. Its heartbeat runs, and nothing else could keep the process alive.
const app = Fastify()
await app.register(aiCanvasWs, { heartbeatIntervalMs: 300 })
await app.ready()
process.stdout.write('ready\n')
