import fastifyWebsocket from '@fastify/websocket'
import Fastify from 'fastify'
import aiCanvasWs from 'ai-canvas-ws'

// The mistake of registering @fastify/websocket although ai-canvas-ws did.
const app = Fastify()
await app.register(aiCanvasWs)
await app.register(fastifyWebsocket)
await app.ready()
