import fastifyWebsocket from '@fastify/websocket'
import type { FastifyInstance } from 'fastify'
import type { ServerOptions, WebSocketServer } from 'ws'
import { errors } from '../errors.js'
import { chooseSubprotocol } from './token.js'

/** ws's own limit, where an app gives none. */
const WS_MAX_PAYLOAD = 100 * 1024 * 1024

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
  const theirs = app.websocketServer.options.maxPayload ?? WS_MAX_PAYLOAD
  if (theirs > maxPayload) {
    app.log.warn({ maxPayload: theirs, recommended: maxPayload },
      'the app\'s @fastify/websocket lets a stranger send messages larger than ai-canvas-ws needs: register it with options: { maxPayload }')
  }
  // Its other routes get what ws would answer by itself, unless that is a token.
  app.websocketServer.options.handleProtocols ??= chooseSubprotocol
  return app.websocketServer
}
