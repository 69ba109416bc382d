import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Redis } from 'ioredis'
import { WebSocketServer, type WebSocket } from 'ws'
import type { Stream } from '../../../lib/streams/broker.js'
import type { Body } from '../payload.js'
import { FLOOR, floorCall } from '../redis/floor.js'
import { greeting, message, Rooms, sessionOf } from '../servers/contender.js'
import type { ClusterContender } from './contenders.js'

const HOST = '127.0.0.1'
const JOB_ID = 'job'

/**
 * Not a real node: the least that a node does if Redis keeps the messages. Each message is one call of a function that only reads and
 * writes what must be kept, and each node passes what arrives on to its sockets. There are no rules, limits, results or recovery.
 */
export function floor (commands: Redis, subscriber: Redis): ClusterContender {
  const http = createServer()
  const rooms = new Rooms<WebSocket>()
  const subscribed = new Map<string, Promise<unknown>>()
  const sockets = new WebSocketServer({ server: http, perMessageDeflate: false })

  const streamOf = (sessionId: string): Stream => `session:${sessionId}`
  const channelOf = (sessionId: string): string => `plain:${floorCall('durable', [streamOf(sessionId)], '', '')[3]!}`

  function send (kind: 'durable' | 'progress', sessionId: string, body: object, delta = ''): void {
    void commands.call(...floorCall(kind, [streamOf(sessionId)], JSON.stringify(body), delta))
  }

  return {
    async listen () {
      await commands.call('FUNCTION', 'LOAD', 'REPLACE', FLOOR)
      sockets.on('connection', (socket, request) => {
        const sessionId = sessionOf(request.url) ?? ''
        rooms.join(sessionId, socket)
        socket.on('error', () => { socket.terminate() }).on('close', () => { rooms.leave([sessionId], socket) })
        const channel = channelOf(sessionId)
        const ready = subscribed.get(channel) ?? subscriber.subscribe(channel)
        subscribed.set(channel, ready)
        void ready.then(() => { socket.send(JSON.stringify(greeting(sessionId))) })
      })
      subscriber.on('messageBuffer', (channel: Buffer, payload: Buffer) => {
        const body = payload.subarray(payload.indexOf('{'))
        for (const socket of rooms.of(channel.toString().slice(channel.indexOf('session:') + 'session:'.length)) ?? []) socket.send(body, { binary: false })
      })
      http.listen(0, HOST)
      await once(http, 'listening')
      return (http.address() as AddressInfo).port
    },
    publish (sessionId: string, body: Body) {
      send('durable', sessionId, message(sessionId, 'update', body))
    },
    write (sessionId) {
      let offset = 0
      return {
        append: (delta) => {
          send('progress', sessionId, { type: 'ai_progress', sessionId, progress: { delta, offset }, timestamp: new Date().toISOString(), jobId: JOB_ID }, delta)
          offset += delta.length
        },
        end: () => { send('durable', sessionId, { type: 'ai_complete', sessionId, result: {}, timestamp: new Date().toISOString(), jobId: JOB_ID }) }
      }
    },
    connections: () => sockets.clients.size
  }
}
