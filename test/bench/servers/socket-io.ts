import { createServer } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { Server } from 'socket.io'
import { greeting, message, perMessageDeflate, subscribed, type Contender, type ContenderOptions } from './contender.js'

/** Rooms of Socket.IO, over WebSocket only. */
export function socketIo ({ compression }: ContenderOptions): Contender {
  const http = createServer()
  const io = new Server(http, { transports: ['websocket'], serveClient: false, perMessageDeflate: compression && perMessageDeflate })
  return {
    async listen () {
      io.on('connection', (socket) => {
        const { sessionId } = socket.handshake.query
        const first = typeof sessionId === 'string' ? sessionId : undefined
        if (first !== undefined) void socket.join(first)
        socket.emit('message', greeting(first))
        socket.on('subscribe', (id: string) => {
          void socket.join(id)
          socket.emit('message', subscribed(id))
        })
      })
      http.listen(0, '127.0.0.1')
      await once(http, 'listening')
      return (http.address() as AddressInfo).port
    },
    publish (sessionId, kind, body) {
      io.to(sessionId).emit('message', message(sessionId, kind, body))
    }
  }
}
