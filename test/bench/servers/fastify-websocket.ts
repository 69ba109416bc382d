import fastifyWebsocket from '@fastify/websocket'
import Fastify from 'fastify'
import type { AddressInfo } from 'node:net'
import {
  greeting, perMessageDeflate, pong, subscribed, type ClientMessage, type Contender, type ContenderOptions
} from './contender.js'

/** A handler that sends the same replies as ours and keeps nothing: the base cost of a connection. */
export function bareHandler ({ compression }: ContenderOptions): Contender {
  const app = Fastify()
  return {
    async listen () {
      await app.register(fastifyWebsocket, { options: { perMessageDeflate: compression && perMessageDeflate } })
      app.get<{ Querystring: { sessionId?: string } }>('/ws', { websocket: true }, (socket, request) => {
        socket.send(JSON.stringify(greeting(request.query.sessionId)))
        socket.on('message', (data: Buffer) => {
          const { type, sessionId } = JSON.parse(data.toString()) as ClientMessage
          socket.send(JSON.stringify(type === 'subscribe' ? subscribed(sessionId) : pong()))
        })
      })
      await app.listen({ port: 0, host: '127.0.0.1' })
      return (app.server.address() as AddressInfo).port
    },
    publish () { throw new Error('a bare handler has no sessions') }
  }
}
