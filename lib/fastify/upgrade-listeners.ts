import type { FastifyInstance } from 'fastify'
import type { Upgrades } from './upgrades.js'

/**
 * Logs at startup which other listeners of `upgrade` conflict with the plugin, if the plugin can't prevent it. Each line names
 * the other party and the fix.
 */
export function reportOtherListeners (app: FastifyInstance, upgrades: Upgrades): void {
  app.addHook('onListen', function (done) {
    if (!speaksHttp1(app)) {
      app.log.warn('no client can connect, because the server accepts only HTTP/2 and WebSockets need HTTP/1.1: use https with allowHTTP1: true')
    }
    const { otherListeners, handlesAll, server } = upgrades
    if (handlesAll && otherListeners > 0) {
      app.log.warn({ listeners: otherListeners },
        '@fastify/websocket, registered by the app, handles every upgrade request, including those for other listeners: register ai-canvas-ws instead, which registers @fastify/websocket itself and leaves other upgrades to their listeners')
    }
    if (server.listeners('upgrade').some((listener) => String(listener).includes('destroyUpgrade'))) {
      app.log.info('Socket.IO destroys upgrade requests for other listeners that are not answered within a second: set its option destroyUpgrade: false')
    }
    done()
  })
}

/** Whether the server accepts HTTP/1.1. An HTTP/2 server does so only over TLS, for clients that ask for it (ALPN). */
function speaksHttp1 ({ initialConfig }: FastifyInstance): boolean {
  const { http2, https } = initialConfig
  return http2 !== true || (typeof https === 'object' && https.allowHTTP1)
}
