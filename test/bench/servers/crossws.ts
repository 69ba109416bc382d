import { createServer } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import crossws from 'crossws/adapters/node'
import {
  greeting, message, perMessageDeflate, pong, sessionOf, subscribed,
  type ClientMessage, type Contender, type ContenderOptions
} from './contender.js'

/** Topics of crossws, with its adapter for Node.js. */
export function crosswsTopics ({ compression }: ContenderOptions): Contender {
  const adapter = crossws({
    serverOptions: { perMessageDeflate: compression && perMessageDeflate },
    hooks: {
      open (peer) {
        const first = sessionOf(peer.request.url)
        if (first !== undefined) peer.subscribe(first)
        peer.send(JSON.stringify(greeting(first)))
      },
      message (peer, data) {
        const { type, sessionId } = JSON.parse(data.text()) as ClientMessage
        if (type === 'subscribe') {
          peer.subscribe(sessionId)
          peer.send(JSON.stringify(subscribed(sessionId)))
        } else {
          peer.send(JSON.stringify(pong()))
        }
      }
    }
  })
  const http = createServer()
  http.on('upgrade', (request, socket, head) => { void adapter.handleUpgrade(request, socket, head) })
  return {
    async listen () {
      http.listen(0, '127.0.0.1')
      await once(http, 'listening')
      return (http.address() as AddressInfo).port
    },
    publish (sessionId, kind, body) {
      adapter.publish(sessionId, JSON.stringify(message(sessionId, kind, body)))
    }
  }
}
