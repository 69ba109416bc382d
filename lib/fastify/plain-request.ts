import type { IncomingMessage, Server } from 'node:http'
import type { Duplex } from 'node:stream'
import { Server as TlsServer } from 'node:tls'

/**
 * Default length of `rawHeaders` (name, value, …) at which Node's parser drops further headers. See `server.maxHeadersCount`.
 */
const MAX_RAW_HEADERS = 2000

/**
 * Passes an upgrade request back to the HTTP server, which handles it as a plain request: "A server MAY ignore a received
 * Upgrade header field" (RFC 9110, section 7.8). Node has detached the socket from its parser before it emits `upgrade`. So the
 * request's head is serialized again, without the option `upgrade` in `Connection`, and the socket starts over as a new
 * connection. The request then has a body, keep-alive and timeouts like any other.
 */
export function handBack (server: Server, request: IncomingMessage, socket: Duplex, head: Buffer): void {
  const lines = headOf(server, request)
  if (lines === undefined) {
    socket.end('HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n')
    return
  }
  socket.unshift(Buffer.concat([Buffer.from(lines, 'latin1'), head]))
  server.emit(server instanceof TlsServer ? 'secureConnection' : 'connection', socket)
}

/**
 * Returns the head of a request. Returns undefined if Node may have dropped headers, because the body's length could be one of
 * them (request smuggling).
 */
function headOf (server: Server, { method, url, httpVersion, rawHeaders }: IncomingMessage): string | undefined {
  const limit = typeof server.maxHeadersCount === 'number' ? server.maxHeadersCount * 2 : MAX_RAW_HEADERS
  if (limit > 0 && rawHeaders.length >= limit) return undefined
  let name = ''
  const lines = rawHeaders.map((text, at) => {
    if (at % 2 === 0) {
      name = text
      return `${name}: `
    }
    return `${name.toLowerCase() === 'connection' ? withoutUpgrade(text) : text}\r\n`
  })
  return `${method} ${url} HTTP/${httpVersion}\r\n${lines.join('')}\r\n`
}

function withoutUpgrade (connection: string): string {
  return connection.split(',').map((option) => option.trim()).filter((option) => option.toLowerCase() !== 'upgrade').join(', ')
}
