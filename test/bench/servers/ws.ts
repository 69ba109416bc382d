import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { WebSocketServer, type WebSocket } from 'ws'
import {
  greeting, message, perMessageDeflate, pong, Rooms, sessionOf, subscribed,
  type ClientMessage, type Contender, type ContenderOptions
} from './contender.js'

const OPEN = 1

/** The loop that apps write: serialize once, `send` to each subscriber. */
export function wsLoop ({ compression }: ContenderOptions): Contender {
  const rooms = new Rooms<WebSocket>()
  let server: WebSocketServer | undefined
  return {
    async listen () {
      server = new WebSocketServer({ port: 0, host: '127.0.0.1', perMessageDeflate: compression && perMessageDeflate })
      server.on('connection', (socket, { url }) => {
        const subscriptions = new Set<string>()
        const follow = (sessionId: string): void => {
          subscriptions.add(sessionId)
          rooms.join(sessionId, socket)
        }
        const first = sessionOf(url)
        if (first !== undefined) follow(first)
        socket.send(JSON.stringify(greeting(first)))
        socket.on('message', (data: Buffer) => {
          const { type, sessionId } = JSON.parse(data.toString()) as ClientMessage
          if (type === 'subscribe') {
            follow(sessionId)
            socket.send(JSON.stringify(subscribed(sessionId)))
          } else {
            socket.send(JSON.stringify(pong()))
          }
        })
        socket.on('close', () => { rooms.leave(subscriptions, socket) })
      })
      await once(server, 'listening')
      return (server.address() as AddressInfo).port
    },
    publish (sessionId, kind, body) {
      const text = JSON.stringify(message(sessionId, kind, body))
      for (const socket of rooms.of(sessionId) ?? []) if (socket.readyState === OPEN) socket.send(text)
    },
    waitingBytes () {
      let bytes = 0
      for (const { bufferedAmount } of server?.clients ?? []) bytes += bufferedAmount
      return bytes
    }
  }
}
