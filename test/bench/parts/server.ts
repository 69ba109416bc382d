import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { connect } from 'node:net'
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'
import { Subscriber } from '../../../lib/delivery/channel.js'
import { Outbox } from '../../../lib/delivery/outbox.js'
import type { Transport } from '../../../lib/delivery/transport.js'
import type { SharedTimers } from '../../../lib/jobs/shared-timers.js'
import { TrackProgress } from '../../../lib/jobs/track-progress.js'
import { resolveOptions } from '../../../lib/options.js'
import { createBroker, createServer, type Server } from '../../../lib/server.js'
import { systemClock } from '../../../lib/util/clock.js'
import { text } from '../payload.js'
import type { Subject } from './part.js'

// The server below Fastify, as a load for its parts.

const silent = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined }

function start (): Server {
  const options = resolveOptions({})
  const shared = { options, clock: systemClock, log: silent, maxPayload: undefined }
  const broker = createBroker(shared)
  const server = createServer({ ...shared, broker })
  void broker.open(server.node)
  return server
}

/** A transport that is never full. */
function transport (write: (bytes: Buffer) => void): Transport {
  return {
    state: 1,
    inflates: false,
    announcesLargeMessages: false,
    bufferedBytes: 0,
    full: false,
    write,
    onceDrained: () => undefined,
    close: () => undefined,
    terminate: () => undefined
  }
}

function subscribe ({ hub, pool }: Server, sessionIds: readonly string[], write: (bytes: Buffer) => void): void {
  const subscriber = new Subscriber(new Outbox(transport(write), pool, () => undefined))
  void hub.join(subscriber, sessionIds.map((sessionId) => ({ stream: `session:${sessionId}` as const })), () => '{}')
}

/** Progress of 10,000 jobs with one client each, 100 messages per turn of the event loop. */
export function messages (): Subject {
  const server = start()
  let bytes = 0
  const jobs = Array.from({ length: 10_000 }, (_, at) => {
    const sessionId = `canvas-${at}-of-a-user`
    subscribe(server, [sessionId], ({ length }) => { bytes += length })
    return server.manager.startAI(sessionId, { prompt: 'x' })
  })
  return {
    async run () {
      bytes = 0
      for (let n = 1; n <= 10; n++) {
        for (const [at, job] of jobs.entries()) {
          void job.progress({ chunksReceived: n, contentLength: 20 * n, text: text(200, n) })
          if (at % 100 === 99) await nextTurn()
        }
      }
      return bytes
    }
  }
}

/** Reads whatever is sent to it, in a process of its own. */
const SINK = `
  const server = require('node:net').createServer((socket) => socket.on('error', () => {}).resume())
  server.listen(0, '127.0.0.1', () => console.log(server.address().port))
  process.stdin.on('end', () => process.exit()).resume()
`

const CLIENTS = 50
const JOBS_PER_CLIENT = 20
const TOKENS_PER_SECOND = 50
const TOKENS_PER_JOB = 100
const THROTTLE_MS = 100

/** Clients with many jobs each. Every job's tokens arrive at a time of their own. */
export async function pages (timers: SharedTimers): Promise<Subject> {
  const server = start()
  const sink = spawn(process.execPath, ['-e', SINK], { stdio: ['pipe', 'pipe', 'inherit'] })
  const [port] = await once(sink.stdout, 'data') as [Buffer]
  const jobs: Array<() => TrackProgress> = []
  for (let client = 0; client < CLIENTS; client++) {
    const socket = connect(Number(port), '127.0.0.1')
    await once(socket, 'connect')
    const sessionIds = Array.from({ length: JOBS_PER_CLIENT }, (_, at) => `canvas-${client}-${at}`)
    subscribe(server, sessionIds, (bytes) => { socket.write(bytes) })
    for (const sessionId of sessionIds) {
      const job = server.manager.startAI(sessionId, { prompt: 'x' })
      jobs.push(() => new TrackProgress({
        timers, throttleMs: THROTTLE_MS, sendText: true, keepAlive: () => { job.keepAlive() }, send: (progress) => { void job.progress(progress) }
      }))
    }
  }
  return {
    async run () {
      const running = jobs.map((create) => create())
      const total = jobs.length * TOKENS_PER_JOB
      const began = performance.now()
      for (let sent = 0; sent < total;) {
        const due = Math.min(total, (performance.now() - began) / 1000 * jobs.length * TOKENS_PER_SECOND)
        // Each token in a turn of its own would leave no time for anything else, so those of a millisecond share one.
        for (; sent < due; sent++) running[sent * 7 % jobs.length]?.add(' token')
        await sleep(1)
      }
      for (const progress of running) progress.end()
      return running.reduce((sum, { contentLength }) => sum + contentLength, 0)
    }
  }
}
