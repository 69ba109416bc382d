import { fork, type ChildProcess } from 'node:child_process'
import { on } from 'node:events'
import { fileURLToPath } from 'node:url'
import { AgentError } from '../agent.js'
import type { Source } from './program.js'
import type { Order, Report } from './writer.js'

const WRITER = fileURLToPath(new URL('writer.ts', import.meta.url))
const MAX_HEAP_MIB = 512

/** The id of a warm-up. Its reports are ignored. */
const WARM_UP = 0

/**
 * A pool of processes that run the compiler. The compiler blocks for a second or more, which would delay every heartbeat and
 * every other job of the server. A process can be killed if a file keeps the compiler busy forever, and running out of memory
 * affects only that process. One idle process is kept, because loading the compiler is most of the work.
 */
export class Writers {
  #idle: ChildProcess | undefined
  #warmUp: Source | undefined
  #latestId = WARM_UP
  #isClosed = false

  /** Starts a process and documents this file with it, so that the first job finds the compiler and its libraries loaded. */
  warmUp (source: Source): void {
    this.#warmUp = source
    this.#idle = start()
    hold(this.#idle, 'unref')
    send(this.#idle, { id: WARM_UP, source })
  }

  async * write (source: Source, signal: AbortSignal): AsyncGenerator<string> {
    signal.throwIfAborted()
    const writer = this.#take()
    const id = ++this.#latestId
    let hasEnded = false
    try {
      const reports = on(writer, 'message', { signal, close: ['disconnect'] }) as AsyncIterable<[Report]>
      send(writer, { id, source })
      for await (const [report] of reports) {
        // Without this check, reports that have already arrived would be passed on even after an abort.
        signal.throwIfAborted()
        if (report.id !== id) continue
        switch (report.type) {
          case 'chunk':
            yield report.text
            break
          case 'end':
            hasEnded = true
            return
          case 'invalid':
            hasEnded = true
            throw new AgentError('invalid_request_error', report.message)
          default:
            report satisfies never
        }
      }
      throw new AgentError('internal_error', `the compiler stopped before the documentation of ${source.path} was complete`)
    } finally {
      if (hasEnded) this.#giveBack(writer)
      else this.#replace(writer)
    }
  }

  /** Ends the idle process. The others end with their jobs. */
  close (): void {
    this.#isClosed = true
    this.#idle?.kill('SIGKILL')
    this.#idle = undefined
  }

  #take (): ChildProcess {
    const idle = this.#idle
    this.#idle = undefined
    if (idle?.connected !== true) return start()
    hold(idle, 'ref')
    return idle
  }

  #giveBack (writer: ChildProcess): void {
    if (this.#isClosed || this.#idle !== undefined) {
      writer.kill('SIGKILL')
      return
    }
    hold(writer, 'unref')
    this.#idle = writer
  }

  #replace (writer: ChildProcess): void {
    writer.kill('SIGKILL')
    if (this.#warmUp === undefined || this.#isClosed || this.#idle !== undefined) return
    this.warmUp(this.#warmUp)
  }
}

function start (): ChildProcess {
  return fork(WRITER, { execArgv: [...process.execArgv, `--max-old-space-size=${MAX_HEAP_MIB}`] })
}

/** A process that died in the meantime has emitted `disconnect`. */
function send (writer: ChildProcess, order: Order): void {
  writer.send(order, () => undefined)
}

/** An idle process must not keep this one alive. */
function hold (writer: ChildProcess, how: 'ref' | 'unref'): void {
  writer[how]()
  writer.channel?.[how]()
}
