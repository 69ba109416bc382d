import { createClient } from 'ai-canvas-ws/client'

/**
 * Connects with a token, follows a job, loses the connection, and recovers the missed message. Returns how a failed connection is
 * reported.
 */
export async function smoke (url, options = {}) {
  const client = createClient({ url, sessionId: 'smoke', userId: 'ä b', reconnectInterval: 50, getToken: async () => 'tökên', ...options })
  const next = (type) => new Promise((resolve) => { const stop = client.on(type, (event) => { stop(); resolve(event) }) })
  const opened = next('open')
  client.connect()
  await opened

  const ended = next('ai_complete')
  client.send({ type: 'work' })
  if ((await ended).result.chunks !== 7) throw new Error('another result')

  const missed = next('note')
  client.send({ type: 'cut' })
  if ((await missed).text !== 'missed') throw new Error('another message')
  if (client.metrics.reconnects !== 1) throw new Error('it did not reconnect')
  client.close()

  const nowhere = createClient({ url: 'ws://127.0.0.1:9/ws', reconnect: false, ...options })
  const failed = new Promise((resolve) => { nowhere.on('error', resolve) })
  nowhere.connect()
  return (await failed).message
}
