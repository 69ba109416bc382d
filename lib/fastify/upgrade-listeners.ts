import type { FastifyInstance } from 'fastify'
import type { Upgrades } from './upgrades.js'

/**
 * Logs at start-up what keeps this plugin and other parties from working beside each other, where Node offers no way to
 * prevent it: each line names the other party and the way out.
 */
export function reportOtherListeners (app: FastifyInstance, upgrades: Upgrades): void {
  app.addHook('onListen', function (done) {
    if (!speaksHttp1(app)) {
      app.log.warn('no client can connect: the server speaks HTTP/2 only and WebSockets need HTTP/1.1: use https with allowHTTP1: true')
    }
    const { neighbours, takesAll, server } = upgrades
    if (takesAll && neighbours > 0) {
      app.log.warn({ listeners: neighbours },
        '@fastify/websocket, registered by the app, takes every upgrade of the server, those of other listeners too: register ai-canvas-ws instead, which brings it along and leaves upgrades of others to them')
    }
    if (server.listeners('upgrade').some((listener) => String(listener).includes('destroyUpgrade'))) {
      app.log.info('Socket.IO ends upgrades of others that take longer than a second to be answered: give it destroyUpgrade: false')
    }
    done()
  })
}

/** An HTTP/2 server speaks HTTP/1.1 only over TLS, to clients that ask for it (ALPN). */
function speaksHttp1 ({ initialConfig }: FastifyInstance): boolean {
  const { http2, https } = initialConfig
  return http2 !== true || (typeof https === 'object' && https.allowHTTP1)
}
