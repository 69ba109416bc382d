import aiCanvasWs from 'ai-canvas-ws'
import Fastify, { type FastifyInstance } from 'fastify'

export async function build (): Promise<FastifyInstance> {
  const app = Fastify()
  await app.register(aiCanvasWs)
  app.post('/work', async () => {
    const job = app.wsManager.startAI('s', { mode: 'work' })
    return job.complete({ chunks: 1 })
  })
  return app
}
