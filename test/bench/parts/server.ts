import { setImmediate as nextTurn } from 'node:timers/promises'
import { Subscriber } from '../../../lib/delivery/channel.js'
import { Outbox } from '../../../lib/delivery/outbox.js'
import type { Transport } from '../../../lib/delivery/transport.js'
import { resolveOptions } from '../../../lib/options.js'
import { createBroker, createServer, type Server } from '../../../lib/server.js'
import { systemClock } from '../../../lib/util/clock.js'
import { text } from '../payload.js'
import type { Subject } from './part.js'

// The server below Fastify, without a network, as a load for its parts.

const silent = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined }

function start (): Server {
  const options = resolveOptions({})
  const shared = { options, clock: systemClock, log: silent, maxPayload: undefined }
  const server = createServer({ ...shared, broker: createBroker(options, silent) })
  void server.broker.open(server.node, server.brokerSettings)
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
