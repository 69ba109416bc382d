import type { IncomingMessage } from 'node:http'
import type { FastifyInstance } from 'fastify'

/**
 * Ends the socket of an upgrade that was answered as a request, such as one that a hook refuses with 401. Nobody reads
 * that socket, so that its peer's leaving would never be noticed: each refusal would cost the server a socket for ever,
 * and `app.close()` would wait for it. @fastify/websocket does this too, unless a hook before its own has answered.
 */
export function endRefusedUpgrades (app: FastifyInstance): void {
  app.addHook('onResponse', (request, _reply, done) => {
    // Node says so itself: what was handed to the listeners of 'upgrade'. Its types don't know.
    const { upgrade, socket } = request.raw as IncomingMessage & { upgrade?: boolean | null }
    if (upgrade === true) socket.destroy()
    done()
  })
}
