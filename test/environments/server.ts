import type { Socket } from 'node:net'
import Fastify from 'fastify'
import aiCanvasWs from 'ai-canvas-ws'

/** Starts a server for `smoke.mjs`. Returns its URL, and a function that closes it. */
export async function startServer (): Promise<{ url: string, close: () => Promise<void> }> {
  const app = Fastify()
  const sockets = new Set<Socket>()
  app.server.on('connection', (socket) => {
    sockets.add(socket)
    socket.on('close', () => { sockets.delete(socket) })
  })
  await app.register(aiCanvasWs, {
    authenticate: (_request, { token }) => token === 'tökên' && { userId: 'ä b' },
    authorize: true,
    onMessage: async ({ type }) => {
      if (type === 'work') await app.wsManager.notifyAIComplete('smoke', { chunks: 7 })
      if (type !== 'cut') return
      for (const socket of sockets) socket.destroy()
      await app.wsManager.broadcastToSession('smoke', { type: 'note', text: 'missed' })
    }
  })
  const origin = await app.listen({ port: 0, host: '127.0.0.1' })
  return { url: `${origin.replace('http', 'ws')}/ws`, close: () => app.close() }
}
