import Fastify from 'fastify'
import { WebSocket } from 'ws'
import aiCanvasWs from 'ai-canvas-ws'

// An app that is used and closed. Then the process must end by itself.
const app = Fastify()
await app.register(aiCanvasWs)
const origin = await app.listen({ port: 0, host: '127.0.0.1' })
const client = new WebSocket(`${origin.replace('http', 'ws')}/ws?userId=u1&sessionId=s1`)
const closed = new Promise<number>((resolve) => { client.on('close', resolve) })
await new Promise((resolve) => { client.once('message', resolve) })
app.wsManager.createBatcher('s1').push({ n: 1 })
await app.close()
process.stdout.write(`closed with ${await closed}\n`)
