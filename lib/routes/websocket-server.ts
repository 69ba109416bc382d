import type { Server } from 'node:http'
import type { Duplex } from 'node:stream'
import fastifyWebsocket from '@fastify/websocket'
import type { FastifyInstance } from 'fastify'
import type { ServerOptions, WebSocketServer } from 'ws'
import type { Clock } from '../clock.js'
import { errors } from '../errors.js'
import { chooseSubprotocol } from './token.js'

export interface ProvideOptions {
  /** What ws is given. */
  readonly websocket: Omit<ServerOptions, 'path' | 'WebSocket'>
  readonly maxPayload: number
  /** Whether some of that is the app's own wish. */
  readonly hasOwnWebSocket: boolean
}

/** The app's WebSocket server: the one that it registered already, or one registered here. */
export async function provideWebSocketServer (app: FastifyInstance, options: ProvideOptions): Promise<WebSocketServer> {
  if (app.hasDecorator('websocketServer')) return useExisting(app, options)
  const { handleProtocols } = options.websocket
  await app.register(fastifyWebsocket, {
    options: {
      ...options.websocket,
      // By itself ws would answer the first subprotocol that is offered, and that may be a token.
      handleProtocols: handleProtocols ?? chooseSubprotocol
    }
  })
  return app.websocketServer
}

function useExisting (app: FastifyInstance, { hasOwnWebSocket, maxPayload }: ProvideOptions): WebSocketServer {
  if (hasOwnWebSocket) {
    throw new errors.InvalidOption('websocket',
      'can\'t be given here because the app has registered @fastify/websocket itself: pass it there as { options }, or register ai-canvas-ws first and leave that out')
  }
  // ws fills in its own default, 100 MiB; 0 means no limit.
  const theirs = app.websocketServer.options.maxPayload
  if (!theirs || theirs > maxPayload) {
    app.log.warn({ maxPayload: theirs, recommended: maxPayload },
      'the app\'s @fastify/websocket lets a stranger send messages larger than ai-canvas-ws needs: register it with options: { maxPayload }')
  }
  // Its other routes get what ws would answer by itself, unless that is a token.
  app.websocketServer.options.handleProtocols ??= chooseSubprotocol
  return app.websocketServer
}

/**
 * Cuts off whoever asks for an upgrade from now on, after `ms`. While an app closes, Fastify answers them 503 and leaves
 * the socket to them; a server whose sockets are not all closed never is. Answers how to end it.
 */
export function cutOffUpgrades (server: Server, clock: Clock, ms: number): () => void {
  // Nobody takes upgrades any more: then they are requests as any other, and a listener would keep them from being that.
  if (server.listenerCount('upgrade') === 0) return () => { /* nothing to end */ }
  const onUpgrade = (_request: unknown, socket: Duplex): void => {
    const timer = clock.after(ms, () => { socket.destroy() })
    socket.once('close', () => { timer.cancel() })
    // Read, so that its peer's leaving is noticed. And a socket that nobody reads keeps no process alive: it would end
    // while the app's close is still awaited.
    socket.once('end', () => { socket.destroy() })
    socket.resume()
  }
  server.on('upgrade', onUpgrade)
  return () => { server.off('upgrade', onUpgrade) }
}
