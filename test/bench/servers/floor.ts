import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type AddressInfo, type Socket } from 'node:net'
import { constants, deflateRawSync } from 'node:zlib'
import { Template, type Body } from '../payload.js'
import {
  greeting, message, perMessageDeflate, sessionOf, subscribed,
  type ClientMessage, type Contender, type ContenderOptions, type Kind
} from './contender.js'

const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'
const PONG = Buffer.from([0x8a, 0])

/** The prepared data of a session: messages as templates, and the output of this tick. */
interface Room {
  readonly sockets: Set<Socket>
  readonly templates: Template[]
  readonly due: Buffer[]
}

/**
 * Not a real server: it writes prepared bytes to plain sockets, one write per socket and tick, and so shows the cost of the
 * operating system and Node's `net`. It does only what the load generator needs.
 */
export function floor ({ compression }: ContenderOptions): Contender {
  const rooms = new Map<string, Room>()
  const due: Room[] = []
  /** Whether sockets subscribe to several sessions. If so, the output of a tick is gathered for each socket. */
  let many = false

  function room (sessionId: string): Room {
    let found = rooms.get(sessionId)
    if (found === undefined) rooms.set(sessionId, found = { sockets: new Set(), templates: [], due: [] })
    return found
  }

  function accept (socket: Socket): void {
    socket.setNoDelay(true)
    socket.on('error', () => { socket.destroy() })
    socket.once('data', (request) => {
      const head = request.toString('latin1')
      const first = sessionOf(/^GET (\S+)/.exec(head)?.[1])
      const key = /sec-websocket-key: (\S+)/i.exec(head)?.[1] ?? ''
      const extension = compression && head.includes('permessage-deflate')
        ? 'Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=10\r\n'
        : ''
      socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
        `Sec-WebSocket-Accept: ${createHash('sha1').update(key + GUID).digest('base64')}\r\n${extension}\r\n`)
      if (first !== undefined) room(first).sockets.add(socket)
      socket.write(frame(JSON.stringify(greeting(first)), false))
      let rest: Buffer = Buffer.alloc(0)
      socket.on('data', (chunk) => {
        rest = Buffer.concat([rest, chunk])
        // Handles only the load generator's frames: short and masked with zeros.
        while (rest.length >= 6 && rest.length >= 6 + (rest[1]! & 127)) {
          const length = rest[1]! & 127
          const opcode = rest[0]! & 15
          if (opcode === 1) answer(socket, rest.toString('utf8', 6, 6 + length))
          else if (opcode === 9) socket.write(PONG)
          else if (opcode === 8) socket.end()
          rest = rest.subarray(6 + length)
        }
      })
    })
  }

  function answer (socket: Socket, text: string): void {
    const { sessionId } = JSON.parse(text) as ClientMessage
    many = true
    room(sessionId).sockets.add(socket)
    socket.write(frame(JSON.stringify(subscribed(sessionId)), false))
  }

  /** Patched in place: the previous tick has been received completely, so its bytes are no longer needed. */
  function ready ({ templates, due }: Room, sessionId: string, kind: Kind, body: Body): Buffer {
    const template = templates[due.length] ??= new Template(text(sessionId, kind, body))
    template.patch(body)
    return compression && template.bytes.length >= perMessageDeflate.threshold ? frame(template.bytes.subarray(4), true) : template.bytes
  }

  function text (sessionId: string, kind: Kind, body: Body): Buffer {
    return frame(JSON.stringify(message(sessionId, kind, body)), false)
  }

  return {
    async listen () {
      const server = createServer(accept)
      server.listen(0, '127.0.0.1')
      await once(server, 'listening')
      return (server.address() as AddressInfo).port
    },
    publish (sessionId, kind, body) {
      const target = room(sessionId)
      if (target.due.length === 0) due.push(target)
      target.due.push(ready(target, sessionId, kind, body))
    },
    endOfTick () {
      if (many) writeGathered(due)
      else for (const { sockets, due: frames } of due) writeAll(sockets, frames)
      for (const { due: frames } of due) frames.length = 0
      due.length = 0
    }
  }
}

function writeAll (sockets: Iterable<Socket>, frames: readonly Buffer[]): void {
  const bytes = frames.length === 1 ? frames[0]! : Buffer.concat(frames)
  for (const socket of sockets) socket.write(bytes)
}

function writeGathered (due: readonly Room[]): void {
  const bySocket = new Map<Socket, Buffer[]>()
  for (const { sockets, due: frames } of due) {
    for (const socket of sockets) {
      const list = bySocket.get(socket)
      if (list === undefined) bySocket.set(socket, [...frames])
      else list.push(...frames)
    }
  }
  for (const [socket, frames] of bySocket) writeAll([socket], frames)
}

function frame (content: string | Buffer, deflate: boolean): Buffer {
  const { level, memLevel, chunkSize } = perMessageDeflate.zlibDeflateOptions
  const payload = deflate
    ? deflateRawSync(content, {
        level, memLevel, chunkSize, windowBits: perMessageDeflate.serverMaxWindowBits, finishFlush: constants.Z_SYNC_FLUSH
      }).subarray(0, -4)
    : Buffer.from(content)
  const first = deflate ? 0xc1 : 0x81
  const header = payload.length < 126
    ? Buffer.from([first, payload.length])
    : Buffer.from([first, 126, payload.length >> 8, payload.length & 255])
  return Buffer.concat([header, payload])
}
