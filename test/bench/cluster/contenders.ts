import { createServer } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { createAdapter as createRedisAdapter } from '@socket.io/redis-adapter'
import { createAdapter as createStreamsAdapter } from '@socket.io/redis-streams-adapter'
import Fastify from 'fastify'
import { Redis } from 'ioredis'
import { Server, type ServerOptions } from 'socket.io'
import type * as Package from 'ai-canvas-ws'
import type * as RedisPackage from 'ai-canvas-ws/redis'
import type { Body } from '../payload.js'
import { greeting } from '../servers/contender.js'
import { floor } from './floor.js'

/** One node of an app that runs as several processes over one Redis. */
export interface ClusterContender {
  /** Listens on 127.0.0.1 and returns the port. */
  listen (): Promise<number>
  /** Sends a message to all subscribers of the session, on all nodes. It can be recovered, if the contender recovers messages. */
  publish (sessionId: string, body: Body): void
  /** Starts a text in a session. */
  write (sessionId: string): Writer
  connections (): number
}

interface Writer {
  /** Sends a piece of the text in a message of its own. */
  append (delta: string): void
  end (): void
}

export interface ClusterContenderOptions {
  readonly redisPort: number
  /** URL of the directory of a build of ours. */
  readonly build: string
}

/** Socket.IO's documented value. */
const RECOVERY_MS = 2 * 60 * 1000
const HOST = '127.0.0.1'

/** The plugin with its defaults, and the broker over Redis with its defaults. */
function ours ({ redisPort, build }: ClusterContenderOptions): ClusterContender {
  const app = Fastify()
  return {
    async listen () {
      const { aiCanvasWs } = await import(`${build}/index.js`) as typeof Package
      const { redisBroker } = await import(`${build}/redis/index.js`) as typeof RedisPackage
      await app.register(aiCanvasWs, { broker: redisBroker({ redis: { host: HOST, port: redisPort } }) })
      await app.listen({ port: 0, host: HOST })
      return (app.server.address() as AddressInfo).port
    },
    publish (sessionId, body) {
      void app.wsManager.broadcastToSession(sessionId, { type: 'update', ...body })
    },
    write (sessionId) {
      const job = app.wsManager.startAI(sessionId, { prompt: 'count' })
      return {
        append: (delta) => { void job.progress({ delta }) },
        end: () => { void job.complete({ finishReason: 'stop' }) }
      }
    },
    connections: () => app.wsManager.getMetrics().totalConnections
  }
}

function socketIo (options: Partial<ServerOptions>): ClusterContender {
  const http = createServer()
  const io = new Server(http, { transports: ['websocket'], serveClient: false, ...options })
  return {
    async listen () {
      io.on('connection', (socket) => {
        const { sessionId } = socket.handshake.query
        if (socket.recovered || typeof sessionId !== 'string') return
        void socket.join(sessionId)
        socket.emit('message', greeting(sessionId))
      })
      http.listen(0, HOST)
      await once(http, 'listening')
      return (http.address() as AddressInfo).port
    },
    publish (sessionId, body) {
      io.to(sessionId).emit('message', { type: 'update', ...body, sessionId, timestamp: new Date().toISOString() })
    },
    write (sessionId) {
      const send = (message: object): void => { io.to(sessionId).emit('message', { ...message, sessionId, timestamp: new Date().toISOString() }) }
      return {
        append: (text) => { send({ type: 'text', text }) },
        end: () => { send({ type: 'end' }) }
      }
    },
    connections: () => io.of('/').sockets.size
  }
}

/** Creates a client that uses RESP2. The adapters were written for it, and ioredis 5 and ours use it, too. */
function redis (port: number): Redis {
  return new Redis({ host: HOST, port, protocol: 2 })
}

/** Socket.IO with connection state recovery, which this adapter supports. */
function streamsAdapter ({ redisPort }: ClusterContenderOptions): ClusterContender {
  return socketIo({ adapter: createStreamsAdapter(redis(redisPort)), connectionStateRecovery: { maxDisconnectionDuration: RECOVERY_MS } })
}

function redisAdapter ({ redisPort }: ClusterContenderOptions): ClusterContender {
  return socketIo({ adapter: createRedisAdapter(redis(redisPort), redis(redisPort)) })
}

export const contenders: Record<string, (options: ClusterContenderOptions) => ClusterContender> = {
  ours, 'streams-adapter': streamsAdapter, 'redis-adapter': redisAdapter, floor: ({ redisPort }) => floor(redis(redisPort), redis(redisPort))
}
