import fastifyWebsocket from '@fastify/websocket'
import Fastify from 'fastify'
import aiCanvasWs from 'ai-canvas-ws'

// An app that registers @fastify/websocket by mistake, because ai-canvas-ws has already registered it.
const app = Fastify()
await app.register(aiCanvasWs)
await app.register(fastifyWebsocket)
await app.ready()
