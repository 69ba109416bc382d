import { setTimeout as sleep } from 'node:timers/promises'
import type { AIJob, Receipt, WebSocketManager } from 'ai-canvas-ws'
import { Random } from '../random.js'
import { jobIdOf, piecesOf } from '../world.js'
import type { JobOrder } from './messages.js'

export interface ProducersOptions {
  readonly manager: WebSocketManager
  /** Returns a number for the next message. */
  readonly number: () => number
  /** Called when the message with this number is accepted. */
  readonly accepted: (stream: string, n: number, receipt: Receipt) => void
  /** Called when a job's real end is accepted. */
  readonly ended: (jobId: string) => void
  readonly broken: (invariant: string, error: unknown) => void
  /** Time after which the server presumes that a silent job has ended, in milliseconds. */
  readonly stallAfterMs: number
}

/** The part of an app that works on jobs. It reports each `JobOrder` in one of the ways that the API offers. */
export class Producers {
  running = 0
  readonly #options: ProducersOptions
  /** Abort controllers of the running jobs without a `jobId`, by session. */
  readonly #plain = new Map<string, AbortController>()

  constructor (options: ProducersOptions) {
    this.#options = options
  }

  /** Starts a job. Returns false if the session's manner does not allow another one now. */
  start (order: JobOrder): boolean {
    const { sessionId, manner } = order
    if (manner === 'plain' && this.#plain.has(sessionId)) return false
    this.running++
    const work = manner === 'plain' ? this.#plainJob(order) : manner === 'crowd' ? this.#crowdedJob(order) : this.#jobWithId(order)
    void work.catch((error: unknown) => { this.#options.broken('no call of the manager throws', error) }).finally(() => { this.running-- })
    return true
  }

  /** Implements the app's `onCancel`. */
  cancel (sessionId: string): boolean {
    const controller = this.#plain.get(sessionId)
    controller?.abort()
    return controller !== undefined
  }

  /** Sends a numbered message and reports the outcome. */
  send (stream: string, call: (n: number) => Promise<Receipt>, isEnd = false): void {
    const { number, accepted, ended, broken } = this.#options
    const n = number()
    call(n).then((receipt) => {
      const { dropped, jobId } = receipt
      if (dropped !== undefined) broken('nothing of what an app reports once is dropped', `${dropped}: message ${n} of ${stream}`)
      accepted(stream, n, receipt)
      if (isEnd && jobId !== undefined) ended(jobId)
    }, (error: unknown) => { broken('a valid notification is accepted', error) })
  }

  #end (stream: string, call: (n: number) => Promise<Receipt>): void {
    this.send(stream, call, true)
  }

  /** Runs a job with the documented calls, without a `jobId`. */
  async #plainJob (order: JobOrder): Promise<void> {
    const { sessionId, script } = order
    const { manager } = this.#options
    const stream = `session:${sessionId}`
    const controller = new AbortController()
    this.#plain.set(sessionId, controller)
    try {
      this.send(stream, (n) => manager.notifyAIStart(sessionId, { prompt: 'plain', n, ...script }))
      const { told, cancelled } = await this.#write(order, controller.signal, (progress) => manager.notifyAIProgress(sessionId, progress))
      if (!cancelled && order.ending === 'silence') {
        // No other job may begin in this session until the end is presumed, because an end without an id could refer to either job.
        await this.#stalled()
        return
      }
      this.#end(stream, (n) => cancelled || order.ending === 'error'
        ? manager.notifyAIError(sessionId, { message: 'failed', type: cancelled ? 'cancelled' : 'soak', n, told, ...script })
        : manager.notifyAIComplete(sessionId, { chunks: order.pieces, n, ...script }))
    } finally {
      this.#plain.delete(sessionId)
    }
  }

  /** Runs one of several simultaneous jobs without a `jobId`. Each end ends one of them. */
  async #crowdedJob ({ sessionId, pauseMs, pieces, ending }: JobOrder): Promise<void> {
    const { manager } = this.#options
    const stream = `session:${sessionId}`
    this.send(stream, (n) => manager.notifyAIStart(sessionId, { prompt: 'crowd', n }))
    for (let i = 0; i < pieces; i++) {
      void manager.notifyAIProgress(sessionId, { contentLength: i })
      await pause(pauseMs)
    }
    this.#end(stream, (n) => ending === 'error'
      ? manager.notifyAIError(sessionId, { message: 'failed', type: 'soak', n })
      : manager.notifyAIComplete(sessionId, { n }))
  }

  async #jobWithId (order: JobOrder): Promise<void> {
    const { sessionId, script, ending } = order
    const { manager } = this.#options
    const stream = `session:${sessionId}`
    const jobId = jobIdOf(script)
    if (order.api === 'tracked') {
      await this.#trackedJob(order, jobId)
      return
    }
    let job: AIJob | undefined
    this.send(stream, (n) => {
      if (order.api === 'explicit') return manager.notifyAIStart(sessionId, { prompt: 'explicit', n }, { jobId })
      job = manager.startAI(sessionId, { prompt: 'handle', n }, { jobId })
      return job.started
    })
    const signal = job?.signal ?? new AbortController().signal
    const { told, cancelled } = await this.#write(order, signal, (progress) => job?.progress(progress) ?? manager.notifyAIProgress(sessionId, progress, { jobId }))
    if (!cancelled && ending === 'silence') {
      await this.#stalled()
      return
    }
    this.#end(stream, (n) => {
      if (cancelled || ending === 'error') {
        const error = { message: 'failed', type: cancelled ? 'cancelled' : 'soak', n, told }
        return job?.error(error) ?? manager.notifyAIError(sessionId, error, { jobId })
      }
      return job?.complete({ n }) ?? manager.notifyAIComplete(sessionId, { n }, { jobId })
    })
  }

  async #stalled (): Promise<void> {
    await pause(this.#options.stallAfterMs + 500)
  }

  async #trackedJob (order: JobOrder, jobId: string): Promise<void> {
    const { sessionId, throttleMs, ending, seed } = order
    const { manager, number, ended } = this.#options
    // Some readers stop early, as an app does if its own client has disconnected.
    const leavesAfter = new Random(seed).chance(0.15) ? order.pieces / 2 : Infinity
    let read = 0
    const pieces = this.#pieces(order)
    try {
      for await (const piece of manager.trackAI(sessionId, { prompt: 'tracked', n: number() }, pieces, {
        jobId, throttleMs, text: true, result: (result) => ({ ...result, n: number() })
      })) {
        if (piece.length >= 0 && ++read > leavesAfter) break
      }
      ended(jobId)
    } catch (error) {
      const { name } = error as Error
      if (name !== 'AbortError' && !(ending !== 'complete' && name === 'SoakError')) throw error
    }
  }

  async * #pieces ({ script, pieces, pauseMs, ending }: JobOrder): AsyncGenerator<string> {
    for (const piece of piecesOf(script, pieces)) {
      await pause(pauseMs)
      yield piece
    }
    if (ending !== 'complete') throw Object.assign(new Error('the model failed'), { name: 'SoakError' })
  }

  /** Reports the text piece by piece. Returns the length of the reported text, and whether the job was cancelled. */
  async #write (
    { script, pieces, pauseMs }: JobOrder, signal: AbortSignal, report: (progress: { chunksReceived: number, delta: string }) => Promise<Receipt>
  ): Promise<{ told: number, cancelled: boolean }> {
    let told = 0
    let chunksReceived = 0
    for (const delta of piecesOf(script, pieces)) {
      if (signal.aborted) break
      void report({ chunksReceived: ++chunksReceived, delta })
      told += delta.length
      await pause(pauseMs)
    }
    return { told, cancelled: signal.aborted }
  }
}

/**
 * Waits before the next piece. Most pieces follow in a later turn of the event loop, some in the same one. The timer does not keep
 * the process alive.
 */
async function pause (ms: number): Promise<void> {
  if (ms > 0) await sleep(ms, undefined, { ref: false })
}
