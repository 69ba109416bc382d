import { once } from 'node:events'
import type { FastifyInstance } from 'fastify'
import type { WebSocket } from 'ws'

export interface Follower {
  /** Resolves with the types of the messages once this many have arrived. */
  types: (count: number) => Promise<unknown[]>
  close: () => void
}

/** Follows the session without a port. The listener is attached in `onInit`: the first message comes before `injectWS` resolves. */
export async function follow (app: FastifyInstance, sessionId: string): Promise<Follower> {
  await app.ready()
  const messages: Array<{ type: string }> = []
  const ws: WebSocket = await app.injectWS(`/ws?sessionId=${sessionId}`, {}, {
    onInit: (ws) => { ws.on('message', (data: Buffer) => { messages.push(JSON.parse(data.toString()) as { type: string }) }) }
  })
  return {
    types: async (count) => {
      while (messages.length < count) await once(ws, 'message')
      return messages.map(({ type }) => type)
    },
    close: () => { ws.terminate() }
  }
}
