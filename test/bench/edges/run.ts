import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'
import { deflateRawSync } from 'node:zlib'
import { WebSocket } from 'ws'
import { Client } from '../../../lib/client/client.js'
import { environmentOf } from '../../../lib/client/environment.js'
import { clientFrame, TEXT } from '../load/frames.js'
import { Peer } from '../rpc.js'
import type { EdgeHandlers, Start } from './server.js'
import { throttle } from './throttle.js'

// `npm run bench:edges`: the cost of one client, one message or a slow network, as absolute figures. See ../README.md.

const MIB = 1024 * 1024
/** A text for a client that requests the rest of it repeatedly. */
const LONG = 'x'.repeat(900_000)

const { values: flags, positionals: names } = parseArgs({
  allowPositionals: true,
  options: { build: { type: 'string', default: 'dist/index.js' } }
})
const build = pathToFileURL(resolve(flags.build)).href

interface Stage {
  readonly server: Peer<EdgeHandlers>
  readonly port: number
}

async function start (options: Omit<Start, 'build'> = {}): Promise<Stage> {
  const server = new Peer<EdgeHandlers>('server', new URL('server.ts', import.meta.url), [], ['--expose-gc'])
  return { server, port: await server.call('start', { build, ...options }) }
}

/** Opens a socket and upgrades it by hand. */
async function raw (port: number, query = '', headers: readonly string[] = []): Promise<Socket> {
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => undefined)
  socket.write(['GET /ws' + query + ' HTTP/1.1', 'Host: x', 'Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13',
    'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==', ...headers, '', ''].join('\r\n'))
  await once(socket, 'data')
  return socket
}

const say = (socket: Socket, message: object): void => { socket.write(clientFrame(TEXT, JSON.stringify(message))) }

/** Calls a function at an interval, for a time. */
async function each (everyMs: number, forMs: number, act: (at: number) => void): Promise<void> {
  for (let at = 0; at * everyMs < forMs; at++) {
    act(at)
    await sleep(everyMs)
  }
}

/** A WebSocket without compression, so that the network is equally slow for every build: the compressed sizes differ between builds. */
class PlainWebSocket extends WebSocket {
  constructor (url: string, protocols?: string[]) {
    super(url, protocols, { perMessageDeflate: false })
  }
}

/** Returns what a tab behind a slow network observes: the closes, and how much of the text or result has arrived. */
async function watch (port: number, sessionId: string, forMs: number, done: (seen: { text: number, ended: boolean }) => boolean): Promise<string> {
  // Imported from the sources, because the client is not compared. Its WebSocket is that of ws.
  const client = new Client({ url: `ws://127.0.0.1:${port}/ws`, sessionId, WebSocket: PlainWebSocket, maxReconnectAttempts: Infinity }, environmentOf(globalThis))
  const closes: number[] = []
  client.on('close', ({ code }) => { closes.push(code) })
  client.connect()
  const seen = (): { text: number, ended: boolean } => {
    const { latest } = client.jobStore(sessionId).getSnapshot()
    return { text: latest?.text.length ?? 0, ended: latest?.status === 'complete' }
  }
  const began = performance.now()
  while (performance.now() - began < forMs && !done(seen())) await sleep(100)
  const took = ((performance.now() - began) / 1000).toFixed(1)
  const { text, ended } = seen()
  const failed = closes.length
  client.close()
  return `${done({ text, ended }) ? `complete after ${took} s` : `not complete after ${took} s`}, ${text} characters of text, closed ${failed} times${
    failed > 0 ? ` (${[...new Set(closes)].join(', ')})` : ''}`
}

const rows: Record<string, () => Promise<string>> = {
  /** A client that reads nothing alternates subscribe and unsubscribe on a text of 900 kB, at its rate limit. */
  async 'reads-nothing' () {
    const { server, port } = await start()
    await server.call('text', { sessionId: 's', text: LONG, times: 1 })
    const deaf = await raw(port)
    deaf.pause()
    await each(42, 12_000, () => {
      say(deaf, { type: 'subscribe', sessionId: 's' })
      say(deaf, { type: 'unsubscribe', sessionId: 's' })
    })
    const { waitingBytes, slowConsumers } = await server.call('sample', undefined)
    await server.end()
    return `${(waitingBytes / MIB).toFixed(2)} MiB wait for it after 12 s, ${slowConsumers} closed`
  },

  /** A client that reads subscribes 48 times a second, each time with another `have`. */
  async 'asks-again' () {
    const { server, port } = await start()
    await server.call('text', { sessionId: 's', text: LONG, times: 1 })
    const greedy = await raw(port)
    let bytes = 0
    greedy.on('data', ({ length }) => { bytes += length })
    // The first seconds use up the burst.
    await each(21, 6_000, (at) => { say(greedy, { type: 'subscribe', sessionId: 's', have: { job: at } }) })
    const before = await server.call('sample', undefined)
    const [readBefore, began] = [bytes, performance.now()]
    await each(21, 10_000, (at) => { say(greedy, { type: 'subscribe', sessionId: 's', have: { job: 1000 + at } }) })
    const after = await server.call('sample', undefined)
    const wallMs = performance.now() - began
    await server.end()
    return `${((after.cpuMs - before.cpuMs) / wallMs * 100).toFixed(1)} % of a core, ${((bytes - readBefore) / wallMs / 1000).toFixed(1)} MB/s`
  },

  /** 100 connections without admission send 60 kB of compressed frames each. */
  async 'before-admission' () {
    const { server, port } = await start({ neverAuthenticates: true })
    const message = deflateRawSync(Buffer.from(JSON.stringify({ type: 'x', pad: 'x'.repeat(60_000) })), { finishFlush: 2 }).subarray(0, -4)
    const frame = clientFrame(TEXT, message, true)
    const flood = Buffer.concat(Array.from({ length: Math.floor(60_000 / frame.length) }, () => frame))
    const before = await server.call('sample', undefined)
    for (let at = 0; at < 100; at++) {
      const socket = await raw(port, '', ['Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover; server_no_context_takeover'])
      socket.write(flood)
    }
    await sleep(3_000)
    const after = await server.call('sample', undefined)
    await server.end()
    return `${((after.rssBytes - before.rssBytes) / MIB).toFixed(0)} MiB of RSS for 100 connections, ${((after.externalBytes - before.externalBytes) / MIB).toFixed(0)} MiB of them buffers`
  },

  /** Counts how many of 1,000 job ends are still kept after an end of 17 MiB, and after 1,200 failed jobs with a prompt of 32 KiB. */
  async 'kept-ends' () {
    const { server, port } = await start()
    const kept = async (): Promise<number> => {
      let ends = 0
      for (let first = 0; first < 1_000; first += 100) {
        const socket = new WebSocket(`ws://127.0.0.1:${port}/ws`)
        await once(socket, 'open')
        const answers = new Promise<void>((resolve) => {
          let answered = 0
          socket.on('message', (data: Buffer) => {
            const { type } = JSON.parse(data.toString()) as { type: string }
            if (type === 'ai_complete') ends++
            if (type === 'subscribed') answered++
            // The recovered messages of the last subscription follow its reply, and the pong follows them.
            if (type === 'pong') resolve()
            else if (answered === 100) socket.send('{"type":"ping"}')
          })
        })
        for (let at = first; at < first + 100; at++) socket.send(JSON.stringify({ type: 'subscribe', sessionId: `s${at}` }))
        await answers
        socket.terminate()
      }
      return ends
    }
    for (let at = 0; at < 1_000; at++) await server.call('complete', { sessionId: `s${at}`, bytes: 200 })
    const before = await kept()
    await server.call('complete', { sessionId: 'large', bytes: 17 * MIB })
    const afterLarge = await kept()
    for (let at = 0; at < 1_200; at++) await server.call('fail', { sessionId: `failed ${at}`, promptBytes: 32 * 1024 })
    const afterFailed = await kept()
    await server.end()
    return `${before} of 1,000, ${afterLarge} after a result of 17 MiB, ${afterFailed} after 1,200 failed jobs with a prompt of 32 KiB`
  },

  /** A text of 24 MB at 2 MB/s, with progress every 100 ms. */
  async 'slow-text' () {
    const { server, port } = await start({ options: { jobs: { maxTextUnits: 16 * MIB }, history: { maxTotalBytes: 512 * MIB } } })
    await server.call('text', { sessionId: 's', text: '€'.repeat(MIB / 2), times: 16 })
    await server.call('progress', { sessionId: 's', everyMs: 100 })
    const line = await throttle(port, 2_000_000)
    const result = await watch(line.port, 's', 40_000, ({ text }) => text >= 8 * MIB)
    line.close()
    await server.end()
    return result
  },

  /** A result of 16 MiB at 2 MB/s, with a heartbeat every second. */
  async 'slow-result' () {
    const { server, port } = await start({ options: { heartbeatIntervalMs: 1_000, history: { maxTotalBytes: 2048 * MIB } } })
    const line = await throttle(port, 2_000_000)
    const watched = watch(line.port, 's', 40_000, ({ ended }) => ended)
    await sleep(1_000)
    await server.call('complete', { sessionId: 's', bytes: 16 * MIB })
    const result = await watched
    line.close()
    await server.end()
    return result
  },

  /** A text of 900 kB at 10 kB/s, with all defaults. */
  async 'slow-line' () {
    const { server, port } = await start()
    await server.call('text', { sessionId: 's', text: LONG, times: 1 })
    const line = await throttle(port, 10_000)
    const result = await watch(line.port, 's', 180_000, ({ text }) => text >= LONG.length)
    line.close()
    await server.end()
    return result
  },

  /** 200 upgrades to a URL that can't be parsed, from clients that stay connected. */
  async 'bad-upgrades' () {
    const { server, port } = await start()
    const sockets = Array.from({ length: 200 }, () => {
      const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
      socket.on('error', () => undefined)
      socket.write('GET /ws% HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n')
      socket.resume()
      return socket
    })
    await sleep(5_000)
    const { sockets: left } = await server.call('sample', undefined)
    const closeMs = await server.call('close', { withinMs: 20_000 })
    for (const socket of sockets) socket.destroy()
    await server.end()
    return `${left} of 200 sockets left after 5 s, app.close() took ${closeMs === 20_000 ? 'more than 20,000' : closeMs} ms`
  }
}

const unknown = names.find((name) => !(name in rows))
if (unknown !== undefined) throw new Error(`unknown row ${unknown}: the rows are ${Object.keys(rows).join(', ')}`)
for (const [name, row] of Object.entries(rows)) {
  if (names.length === 0 || names.includes(name)) process.stdout.write(`${name.padEnd(17)} ${await row()}\n`)
}
