import { createServer, type IncomingMessage } from 'node:http'
import { PassThrough } from 'node:stream'
import t from 'tap'
import { handBack } from '../../../lib/fastify/plain-request.js'

/** What a request with so many headers becomes. Whether a request with that many gets this far depends on Node's version. */
function handedBack (headers: number, maxHeadersCount?: number): { answer: string, isPassedOn: boolean } {
  const server = Object.assign(createServer(), maxHeadersCount !== undefined && { maxHeadersCount })
  let isPassedOn = false
  server.removeAllListeners('connection')
  server.on('connection', () => { isPassedOn = true })
  const rawHeaders = Array.from({ length: headers }, (_, at) => [`x-${at}`, 'v']).flat()
  const socket = new PassThrough()
  handBack(server, { method: 'GET', url: '/', httpVersion: '1.1', rawHeaders } as IncomingMessage, socket, Buffer.alloc(0))
  return { answer: String(socket.read() ?? ''), isPassedOn }
}

t.test('a request of which Node may have dropped headers is refused, because one of them may be the length of its body', (t) => {
  t.match(handedBack(1_000), { answer: /^HTTP\/1\.1 431 Request Header Fields Too Large\r\nConnection: close\r\n/, isPassedOn: false })
  t.match(handedBack(10, 10), { answer: /^HTTP\/1\.1 431 /, isPassedOn: false })
  t.match(handedBack(9, 10), { answer: /^GET \/ HTTP\/1\.1\r\nx-0: v\r\n/, isPassedOn: true })
  t.match(handedBack(2_000, 0), { answer: /^GET \/ HTTP\/1\.1\r\nx-0: v\r\n/, isPassedOn: true }, '0 means no limit')
  t.end()
})
