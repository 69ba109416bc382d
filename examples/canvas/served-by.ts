import type { OnMessage } from 'ai-canvas-ws'

/** A shell command that ends this server like a crash. */
const killCommand = process.platform === 'win32' ? `taskkill /F /PID ${process.pid}` : `kill -9 ${process.pid}`

/**
 * Returns a handler that replies to a page's request for the server that its connection has reached. Without a `node`, there is
 * only one.
 */
export function servedBy (node: string | null = null): OnMessage {
  return ({ type }, client) => {
    if (type !== 'who_serves') return false
    client.send({ type: 'served_by', node, killCommand })
    return true
  }
}
