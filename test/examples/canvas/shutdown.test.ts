import { once } from 'node:events'
import t from 'tap'
import { RawConnection } from '../../support/raw-http.js'
import { settlesWithin } from '../../support/settles-within.js'
import { runExample } from '../support/example.js'

/** Several times the server's deadline, and below the 5 s of Node's keep-alive and the 60 s for a request's headers. */
const WITHIN_MS = 4_500

t.test('SIGTERM ends the server in time, whatever connections are open', async (t) => {
  const example = runExample(t, { PORT: '0' })
  const port = Number(await example.port)
  const connections = {
    'silent from the start': '',
    'idle after a response': 'GET /api/ws/stats HTTP/1.1\r\nHost: localhost\r\n\r\n',
    'in the middle of a request\'s head': 'GET /api/ws/stats HTTP/1.1\r\nHost: loc',
    'in the middle of a request\'s body': 'POST /api/agent/generate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{',
    'upgraded, and deaf to the close frame': [
      'GET /ws?sessionId=s1 HTTP/1.1', `Host: localhost:${port}`, 'Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13',
      `Sec-WebSocket-Key: ${Buffer.alloc(16).toString('base64')}`, '', ''
    ].join('\r\n')
  }
  const open = await Promise.all(Object.values(connections).map(async (text) => {
    const connection = new RawConnection(t, port).write(text)
    await once(connection.socket, 'connect')
    if (text.includes('\r\n\r\n') && !text.startsWith('POST')) await connection.until(/\r\n\r\n/)
    return connection
  }))
  example.process.kill('SIGTERM')
  t.ok(await settlesWithin(WITHIN_MS, example.ended))
  t.same(await example.ended, [0, null, ''])
  await Promise.all(open.map(({ closed, socket }) => {
    socket.destroy()
    return closed
  }))
})
