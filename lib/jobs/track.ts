import { ownContext } from '../util/async-context.js'
import type { Clock } from '../util/clock.js'
import { errors } from '../util/errors.js'
import { isPromise, tryThen, requireSync, andThen, type MaybePromise } from '../util/maybe-promise.js'
import { fieldOf, isError } from '../util/safe-error.js'
import type { AIErrorInfo, AIProgress, AIResult, AITask } from '../protocol/messages.js'
import { reportable } from './ai-error.js'
import { isTimeoutError } from './error-type.js'
import { StreamReader, type TextOf } from './stream-protocols/reader.js'
import { TrackProgress } from './track-progress.js'
import { TrackSource, type AISource, type TrackableSource } from './track-source.js'

/**
 * Receives the reports of a tracked job. The manager's job handle implements it. Its methods never throw, and their rejections
 * are always handled.
 */
export interface JobReporter {
  /** Aborts when a client cancels the job. */
  readonly signal: AbortSignal
  /** Resets the stall timer. Called for every chunk that sends no progress, so it must be cheap. */
  keepAlive (): void
  /** @internal Sets the callback for a stall: the job made no report for too long. */
  onceStalled (callback: () => void): void
  /** @internal Logs a warning about the job's stream, for the app's developer. */
  warn (message: string, fields?: Readonly<Record<string, unknown>>): void
  progress (progress: AIProgress & { delta?: string }): unknown
  /** Ends the job as completed, or as failed if the result can't be sent. */
  complete (result: AIResult): unknown
  error (error: AIErrorInfo | Error): unknown
}

export interface TrackOptions<T> {
  /**
   * Cancels the job when it aborts. The job ends as `cancelled`, or as `timeout_error` if the reason is a timeout, such as that
   * of `AbortSignal.timeout()`. The reason is thrown to the reader of the chunks.
   */
  signal?: AbortSignal | undefined
  /**
   * Minimum time between two progress reports, in milliseconds. 0 sends one for each chunk. `Infinity` sends one for the first
   * chunk and one for the rest. Jobs share the times of their reports, which shifts a report by at most 10 ms and 1/10 of
   * `throttleMs`. A job does not stall while chunks arrive, however long this is. @default 100
   */
  throttleMs?: number
  /**
   * Whether and how the job's text is read and sent. Each progress then carries `delta`, the text since the last one. `true`
   * reads strings, bytes in UTF-8, and the chunks of every protocol in `lib/jobs/stream-protocols`. A function returns the text
   * of chunks of any other shape. If it throws, the job fails and the error is thrown to the reader of the chunks.
   * `contentLength` counts the text, even without this option. @default false
   */
  text?: boolean | TextOf<T>
  /** `false` counts the text that `text` reads, but does not send it. @default true if `text` is given */
  sendText?: boolean
  /**
   * Returns the job's result. It gets the default result: the task's `mode` and `targetFile`, `contentLength`, `chunks`, and
   * for a known protocol `finishReason`, `rawFinishReason` and `usage`. If it throws, the job fails and the error is thrown to
   * the reader of the chunks.
   */
  result?: (result: AIResult) => AIResult
}

/**
 * Reads a stream of chunks and reports on it as a job: throttled progress, and exactly one end. Returns the unchanged chunks.
 * Each is pulled from the source only when the reader asks for it.
 *
 * The job's end depends on the stream:
 *
 * - The source ends: `complete`.
 * - The source throws: `error`. The error is thrown to the reader too. A source that reports its failure in a chunk (the AI
 *   SDK's `fullStream`, OpenAI's responses) also ends the job with `error`, and the reader gets the chunk.
 * - The reader leaves early, by `break`, `return` or a throw: `error` of type `cancelled`, and the source is closed.
 * - A signal aborts: the same, at once, even while a chunk is pending. The signal's reason is thrown to the reader, so that it
 *   never mistakes a partial text for the whole text. An abort of the SDK's own `stream.controller` has the same effect.
 *
 * Closing a source calls its iterator's `return`, its `abort()` (Ollama) and its `controller.abort()` (OpenAI, Anthropic), if
 * it has them. If the source is a function of a signal, that signal is aborted first, even while the function opens the stream.
 * A source that has ended or failed by itself is not closed.
 *
 * The source is opened at once, but read only when the reader asks for chunks. An invalid source, a function that throws, a
 * promise that rejects, and a cancel end the job even if the reader never asks. If the reader stops asking without leaving the
 * loop, the job ends as `stalled` and the source is closed. If the reader then asks again, it gets an error with the code
 * `AICW_ERR_STALLED`. A stalled job whose reader waits for a chunk continues when the chunk arrives.
 *
 * The caller has already reported the start.
 */
export function track<T> (
  reporter: JobReporter, task: AITask, source: TrackableSource<T>, options: TrackOptions<T>, clock: Clock
): AsyncGenerator<T, void, undefined> {
  return new TrackedStream(reporter, task, source, options, clock)
}

/** Pending call of `next`. */
interface Call<T> {
  readonly resolve: (result: IteratorResult<T, undefined>) => void
  readonly reject: (reason: unknown) => void
}

/** Not an `async function*`, because a reader can't leave that before its first chunk or while it waits for one. */
class TrackedStream<T> implements AsyncGenerator<T, void, undefined> {
  readonly #reporter: JobReporter
  readonly #task: AITask
  readonly #makeResult: TrackOptions<T>['result']
  readonly #signals: readonly AbortSignal[]
  readonly #onAbort: () => void
  readonly #reader: StreamReader<T>
  readonly #wantsText: boolean
  readonly #progress: TrackProgress
  /** Undefined if it could not be opened. */
  #source: MaybePromise<TrackSource<T> | undefined>
  /** Controller of the signal that is passed to a source function. */
  #controller: AbortController | undefined
  /** Pending calls of `next`, in order. */
  readonly #calls: Array<Call<T>> = []
  #hasEnded = false
  /** Error that the next call of `next` throws. */
  #thrown: { readonly error: unknown } | undefined

  constructor (reporter: JobReporter, task: AITask, source: TrackableSource<T>, options: TrackOptions<T>, clock: Clock) {
    const { signal, throttleMs = 100, text = false, sendText = text !== false, result } = options
    this.#reporter = reporter
    this.#task = task
    this.#makeResult = result
    this.#reader = new StreamReader(typeof text === 'function' ? text : undefined)
    this.#wantsText = text === true
    // The clock's timers run outside of all requests, and any code may abort a signal. The reports that follow still belong to
    // this job's async context.
    const inOwnContext = ownContext()
    this.#onAbort = () => { inOwnContext(this.#abort) }
    this.#progress = new TrackProgress({
      clock, throttleMs, sendText,
      send: (progress) => { inOwnContext(() => { reporter.progress(progress) }) },
      keepAlive: () => { reporter.keepAlive() }
    })
    this.#signals = signal === undefined ? [reporter.signal] : [signal, reporter.signal]
    // If the job is already cancelled, a source function is not called. An existing stream is opened so that it can be closed.
    if (typeof source === 'function') this.#abort()
    if (!this.#hasEnded) this.#begin(source)
  }

  #begin (source: TrackableSource<T>): void {
    this.#source = tryThen(() => this.#open(source), (opened) => this.#source = opened, (error) => {
      this.#fail(error)
      return undefined
    })
    if (this.#hasEnded) return
    for (const each of this.#signals) each.addEventListener('abort', this.#onAbort)
    this.#reporter.onceStalled(this.#onStalled)
    // Catches an abort that happened while the source was opened, before the listeners were added.
    this.#abort()
  }

  #open (source: TrackableSource<T>): MaybePromise<TrackSource<T>> {
    const opened = typeof source === 'function' ? source((this.#controller = new AbortController()).signal) : source
    const read = (stream: AISource<T>): TrackSource<T> => new TrackSource(stream, (err) => { this.#reporter.warn('the stream of a job threw while it was being aborted', { err }) })
    // Wrapped, because the `then` of a foreign thenable may misbehave.
    return isPromise(opened) ? Promise.resolve(opened).then(read) : read(opened)
  }

  next (): Promise<IteratorResult<T, undefined>> {
    return new Promise((resolve, reject) => {
      this.#calls.push({ resolve, reject })
      if (this.#calls.length === 1) this.#read()
    })
  }

  return (): Promise<IteratorResult<T, undefined>> {
    this.#leave()
    return Promise.resolve({ done: true, value: undefined })
  }

  throw (error: unknown): Promise<IteratorResult<T, undefined>> {
    return this.return().then(() => { throw error })
  }

  async [Symbol.asyncDispose] (): Promise<void> {
    await this.return()
  }

  [Symbol.asyncIterator] (): this {
    return this
  }

  /** Reads the next chunk, for one pending call at a time. Creates no promise, because it runs for every token. */
  readonly #read = (): void => {
    if (this.#hasEnded) this.#answer()
    else void tryThen(this.#readSource, this.#take, this.#fail)
  }

  readonly #readSource = (): MaybePromise<IteratorResult<T, unknown> | undefined> => {
    return isPromise(this.#source) ? this.#source.then((source) => source?.read()) : this.#source?.read()
  }

  /** Handles a chunk. Ignores it after the end, because all pending calls are answered then. */
  readonly #take = (read: IteratorResult<T, unknown> | undefined): void => {
    if (this.#hasEnded || read === undefined) return
    try {
      if (read.done === true) this.#complete()
      else this.#progress.add(this.#reader.read(read.value))
    } catch (error) {
      this.#fail(error)
    }
    // Undefined if the job has just ended: its calls are answered already.
    this.#calls.shift()?.resolve({ done: false, value: read.value as T })
    if (this.#calls.length > 0) queueMicrotask(this.#read)
  }

  #complete (): void {
    this.#progress.end(this.#reader.end())
    if (this.#wantsText) this.#warnOfMissingText()
    const { failure } = this.#reader.report
    if (failure !== undefined) {
      this.#end(() => this.#reporter.error(failure))
      return
    }
    const result = this.#result()
    this.#end(() => this.#reporter.complete(result))
  }

  #result (): AIResult {
    const { mode, targetFile } = this.#task
    const result: AIResult = {
      ...(mode !== undefined && { mode }),
      contentLength: this.#progress.contentLength,
      chunks: this.#progress.chunks,
      ...(targetFile !== undefined && { targetFile }),
      ...this.#reader.report.result
    }
    return this.#makeResult === undefined ? result : requireSync('the option "result"', this.#makeResult(result))
  }

  #warnOfMissingText (): void {
    if (this.#progress.contentLength > 0) return
    const { unrecognisedKeys, isTextOnly } = this.#reader
    if (unrecognisedKeys !== undefined) {
      this.#reporter.warn('a job has no text: the chunks of its stream belong to no known protocol. Set the option "text" to a function ' +
        'that returns the text of a chunk', { keysOfFirstChunk: unrecognisedKeys })
    } else if (isTextOnly) {
      this.#reporter.warn('a job has no text: its stream was empty. If it is the textStream of the AI SDK, which hides failures, ' +
        'pass the result of streamText instead')
    }
  }

  readonly #fail = (error: unknown): void => {
    this.#end(() => this.#reporter.error(this.#reader.report.failure ?? reportable(error)), error, { error })
  }

  #leave (): void {
    this.#cancel('its reader left before the end')
    this.#thrown = undefined
  }

  readonly #abort = (): void => {
    const aborted = this.#signals.find((signal) => signal.aborted)
    if (aborted === undefined) return
    const reason: unknown = aborted.reason ?? new DOMException('This operation was aborted', 'AbortError')
    this.#cancel(messageOf(reason), reason, { error: reason })
  }

  /** Ends the stream after a stall, which is reported elsewhere. If the reader waits for a chunk, only the source is slow. */
  readonly #onStalled = (): void => {
    if (this.#calls.length > 0) return
    const error = new errors.Stalled()
    this.#end(() => undefined, error, { error })
  }

  #cancel (message: string, reason?: unknown, thrown?: { readonly error: unknown }): void {
    // A timeout of `AbortSignal.timeout()` is not a cancel.
    const type = isTimeoutError(reason) ? 'timeout_error' : 'cancelled'
    this.#end(() => this.#reporter.error(this.#reader.report.failure ?? { message, type }), reason, thrown)
  }

  /** Ends the job and the stream. Only the first call counts. */
  #end (report: () => unknown, reason?: unknown, thrown?: { readonly error: unknown }): void {
    if (this.#hasEnded) return
    this.#hasEnded = true
    this.#thrown = thrown
    for (const signal of this.#signals) signal.removeEventListener('abort', this.#onAbort)
    this.#progress.end(this.#reader.release())
    report()
    if (isPromise(this.#source) || this.#source?.isOver === false) this.#controller?.abort(reason)
    void andThen(this.#source, (source) => { source?.close(reason) })
    this.#answer()
  }

  /** Answers pending calls after the end. The first call gets the error, if there is one, and later ones are done. */
  #answer (): void {
    for (const { resolve, reject } of this.#calls.splice(0)) {
      const thrown = this.#thrown
      this.#thrown = undefined
      if (thrown === undefined) resolve({ done: true, value: undefined })
      else reject(thrown.error)
    }
  }
}

function messageOf (reason: unknown): string {
  const message = isError(reason) ? fieldOf(reason, 'message') : reason
  return typeof message === 'string' && message !== '' ? message : 'cancelled'
}
