import { createServer } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import Fastify from 'fastify'
import { Server } from 'socket.io'
import { aiCanvasWs } from 'ai-canvas-ws'
import type { Body } from '../payload.js'

/** A server whose clients reconnect and recover missed messages. */
export interface RecoveryContender {
  /** Listens on 127.0.0.1 and returns the port. */
  listen (): Promise<number>
  /** Sends a message that must not be lost to all subscribers of the session. */
  publish (sessionId: string, body: Body): void
  connections (): number
  /** Streams a job's text, token by token, to all subscribers of the session. */
  stream (sessionId: string, tokens: AsyncIterable<string>): Promise<void>
  /** Size of its history, if the contender provides it. */
  historyBytes? (): number
}

/** Interval at which batched text is sent: the plugin's own default. */
const THROTTLE_MS = 100
/** Longer than any disconnect. */
const RECOVERY_MS = 10_000

/** The plugin with its defaults. */
function ours (): RecoveryContender {
  const app = Fastify()
  return {
    async listen () {
      await app.register(aiCanvasWs)
      await app.listen({ port: 0, host: '127.0.0.1' })
      return (app.server.address() as AddressInfo).port
    },
    publish (sessionId, body) {
      void app.wsManager.broadcastToSession(sessionId, { type: 'update', ...body })
    },
    connections: () => app.wsManager.getMetrics().totalConnections,
    async stream (sessionId, tokens) {
      const chunks = app.wsManager.trackAI(sessionId, { prompt: 'count' }, tokens, { text: true })
      while ((await chunks.next()).done !== true) { /* an app would write them to a response */ }
    },
    historyBytes: () => app.wsManager.getMetrics().historyBytes
  }
}

/** Socket.IO with its connection state recovery. Each token is a message of its own. */
function socketIo (throttleMs = 0): RecoveryContender {
  const http = createServer()
  const io = new Server(http, {
    transports: ['websocket'], serveClient: false, connectionStateRecovery: { maxDisconnectionDuration: RECOVERY_MS }
  })
  return {
    async listen () {
      io.on('connection', (socket) => {
        const { sessionId } = socket.handshake.query
        if (!socket.recovered && typeof sessionId === 'string') void socket.join(sessionId)
      })
      http.listen(0, '127.0.0.1')
      await once(http, 'listening')
      return (http.address() as AddressInfo).port
    },
    publish (sessionId, body) {
      io.to(sessionId).emit('message', { type: 'update', ...body, sessionId, timestamp: new Date().toISOString() })
    },
    connections: () => io.of('/').sockets.size,
    async stream (sessionId, tokens) {
      const send = (text: string): void => {
        io.to(sessionId).emit('message', { type: 'text', sessionId, text, timestamp: new Date().toISOString() })
      }
      let gathered = ''
      const timer = throttleMs === 0 ? undefined : setInterval(() => {
        if (gathered !== '') send(gathered)
        gathered = ''
      }, throttleMs)
      for await (const token of tokens) {
        if (timer === undefined) send(token)
        else gathered += token
      }
      clearInterval(timer)
      if (gathered !== '') send(gathered)
      io.to(sessionId).emit('message', { type: 'end', sessionId })
    }
  }
}

export const contenders: Record<string, () => RecoveryContender> = {
  ours,
  'socket.io': () => socketIo(),
  'socket.io, throttled': () => socketIo(THROTTLE_MS)
}
