import { ownContext } from '../util/async-context.js'
import { errors } from '../util/errors.js'
import { isPromise, tryThen, requireSync, andThen, type MaybePromise } from '../util/maybe-promise.js'
import { fieldOf, isError } from '../util/safe-error.js'
import type { AIErrorInfo, AIProgress, AIResult, AITask } from '../protocol/messages.js'
import { reportable } from './ai-error.js'
import type { SharedTimers } from './shared-timers.js'
import { isTimeoutError } from './error-type.js'
import { StreamReader, type TextOf } from './stream-protocols/reader.js'
import { TrackProgress } from './track-progress.js'
import { TrackSource, type AISource, type TrackableSource } from './track-source.js'

/** Where a tracked job is reported. The manager's job handle is one. Its methods never throw and never reject unobserved. */
export interface JobReporter {
  /** Fires when a client cancels the job. */
  readonly signal: AbortSignal
  /** A chunk came of which no progress tells yet. Called for each, so it must cost next to nothing. */
  keepAlive (): void
  /** @internal Calls back when the job counts as stalled: nothing was heard of it for too long. */
  onceStalled (callback: () => void): void
  /** @internal Logs something that the app's developer should know of the job's stream. */
  warn (message: string, fields?: Readonly<Record<string, unknown>>): void
  progress (progress: AIProgress & { delta?: string }): unknown
  /** Ends the job, also with a result that can't be sent: then as a failure. */
  complete (result: AIResult): unknown
  error (error: AIErrorInfo | Error): unknown
}

export interface TrackOptions<T> {
  /**
   * Ends the job as `cancelled` when it aborts, or as `timeout_error` where its reason is a timeout, as `AbortSignal.timeout()`
   * gives it. Throws its reason to the reader of the chunks.
   */
  signal?: AbortSignal | undefined
  /**
   * One progress in so many milliseconds at most. Zero: one for each chunk. `Infinity`: one for the first and one for the
   * rest. Jobs tell theirs at common times, a tenth of it and 10 ms apart at most. However long it is: a job of which
   * chunks come has not stalled. @default 100
   */
  throttleMs?: number
  /**
   * The job's text, sent as it grows: each progress carries `delta`, the text since the last one. `true` reads it from
   * strings, from bytes in UTF-8, and from the chunks of every protocol in `lib/jobs/stream-protocols`. A function reads it from
   * chunks of any other shape; what it throws ends the job as an error, and is thrown to the reader of the chunks.
   * In either case, and without the option too, `contentLength` counts it. @default false
   */
  text?: boolean | TextOf<T>
  /** `false`: the text that `text` reads is counted, not sent. @default whether `text` is given */
  sendText?: boolean
  /**
   * Makes the result. It is given the one that would be sent: the task's `mode` and `targetFile`, `contentLength`,
   * `chunks`, and from a known protocol `finishReason`, `rawFinishReason` and `usage`. What it throws ends the job as an error, and is thrown to the reader of the chunks.
   */
  result?: (result: AIResult) => AIResult
}

/**
 * Follows a stream of chunks and reports on it as a job: throttled progress, and exactly one end. The chunks pass through
 * as they are, each pulled from the source only when the reader asks for it, and are the reader's to use:
 *
 * - the source ends: `complete`
 * - it throws: `error` with what it threw, which is thrown to the reader too. One that tells of its failure in a chunk
 *   (the AI SDK's `fullStream`, OpenAI's responses) ends as `error` as well; its reader has the chunk
 * - the reader leaves early, by `break`, `return` or a throw: `error` of type `cancelled`, and the source is closed
 * - one of the signals aborts: the same, at once, in the middle of waiting too; and the signal's reason is thrown to the
 *   reader, so that nobody takes half a text for the whole. So too when the SDK's own `stream.controller` was aborted
 *
 * Closing a source calls its iterator's `return`, its own `abort()` (Ollama) and its `controller.abort()` (OpenAI,
 * Anthropic), as far as it has them. If the source is a function of a signal, that signal is aborted first, even while the
 * function opens the stream. A source that has ended or failed by itself is not closed.
 *
 * The source is opened at once and read when the reader begins: what can't be a source, a function that throws, a promise
 * that rejects, and a cancel end the job also when nobody ever reads. A reader that neither reads on nor leaves is not heard of
 * again: the job then ends as `stalled`, and the source is closed. If the reader reads on after all, it is thrown an error
 * with the code `AICW_ERR_STALLED`. A stalled job whose reader waits for a chunk goes on when the chunk comes.
 *
 * The start was reported by the caller.
 */
export function track<T> (
  reporter: JobReporter, task: AITask, source: TrackableSource<T>, options: TrackOptions<T>, timers: SharedTimers
): AsyncGenerator<T, void, undefined> {
  return new TrackedStream(reporter, task, source, options, timers)
}

/** A call of `next`. */
interface Call<T> {
  readonly resolve: (result: IteratorResult<T, undefined>) => void
  readonly reject: (reason: unknown) => void
}

/** Written out instead of as an `async function*`: that one can't be left before its first chunk nor while it waits. */
class TrackedStream<T> implements AsyncGenerator<T, void, undefined> {
  readonly #reporter: JobReporter
  readonly #task: AITask
  readonly #makeResult: TrackOptions<T>['result']
  readonly #signals: readonly AbortSignal[]
  readonly #onAbort: () => void
  readonly #reader: StreamReader<T>
  readonly #wantsText: boolean
  readonly #progress: TrackProgress
  /** Undefined where it could not be opened. */
  #source: MaybePromise<TrackSource<T> | undefined>
  /** Its signal is the one that a source which is a function is given. */
  #controller: AbortController | undefined
  /** Calls of `next` that wait for their answer, in order. */
  readonly #calls: Array<Call<T>> = []
  #hasEnded = false
  /** What the reader is thrown next. */
  #thrown: { readonly error: unknown } | undefined

  constructor (reporter: JobReporter, task: AITask, source: TrackableSource<T>, options: TrackOptions<T>, timers: SharedTimers) {
    const { signal, throttleMs = 100, text = false, sendText = text !== false, result } = options
    this.#reporter = reporter
    this.#task = task
    this.#makeResult = result
    this.#reader = new StreamReader(typeof text === 'function' ? text : undefined)
    this.#wantsText = text === true
    // A beat is shared by many jobs, and a signal is aborted by anybody. What is reported then is this job's all the same.
    const inOwnContext = ownContext()
    this.#onAbort = () => { inOwnContext(this.#abort) }
    this.#progress = new TrackProgress({
      timers, throttleMs, sendText,
      send: (progress) => { inOwnContext(() => { reporter.progress(progress) }) },
      keepAlive: () => { reporter.keepAlive() }
    })
    this.#signals = signal === undefined ? [reporter.signal] : [signal, reporter.signal]
    // A job that is cancelled already asks no model. A stream that is there is opened, so that it is closed.
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
    // What was aborted while the source was opened was not heard.
    this.#abort()
  }

  #open (source: TrackableSource<T>): MaybePromise<TrackSource<T>> {
    const opened = typeof source === 'function' ? source((this.#controller = new AbortController()).signal) : source
    const read = (stream: AISource<T>): TrackSource<T> => new TrackSource(stream, (err) => { this.#reporter.warn('the stream of a job threw when it was aborted', { err }) })
    // Not the thenable's own `then`: only a promise's can be relied on.
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

  /** For one call at a time, and with no promise of its own: this is done for every token. */
  readonly #read = (): void => {
    if (this.#hasEnded) this.#answer()
    else void tryThen(this.#readSource, this.#take, this.#fail)
  }

  readonly #readSource = (): MaybePromise<IteratorResult<T, unknown> | undefined> => {
    return isPromise(this.#source) ? this.#source.then((source) => source?.read()) : this.#source?.read()
  }

  /** What comes after the end is nobody's any more: those who waited for it have their answer. */
  readonly #take = (read: IteratorResult<T, unknown> | undefined): void => {
    if (this.#hasEnded || read === undefined) return
    try {
      if (read.done === true) this.#complete()
      else this.#progress.add(this.#reader.read(read.value))
    } catch (error) {
      this.#fail(error)
    }
    // After an end none is left.
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
      this.#reporter.warn('a job has no text: no known protocol recognises the chunks of its stream. Pass as the option "text" a function ' +
        'that returns the text of a chunk', { keysOfFirstChunk: unrecognisedKeys })
    } else if (isTextOnly) {
      this.#reporter.warn('a job has no text: its stream ended empty. If it is the textStream of the AI SDK, which hides failures, ' +
        'pass the result of streamText itself')
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

  /** Its end is told by whoever found that. A reader that waits for a chunk is there: it is the source that is slow. */
  readonly #onStalled = (): void => {
    if (this.#calls.length > 0) return
    const error = new errors.Stalled()
    this.#end(() => undefined, error, { error })
  }

  #cancel (message: string, reason?: unknown, thrown?: { readonly error: unknown }): void {
    // A signal of `AbortSignal.timeout()` was aborted by nobody.
    const type = isTimeoutError(reason) ? 'timeout_error' : 'cancelled'
    this.#end(() => this.#reporter.error(this.#reader.report.failure ?? { message, type }), reason, thrown)
  }

  /** The one way out. Only the first end counts. */
  #end (report: () => unknown, reason?: unknown, thrown?: { readonly error: unknown }): void {
    if (this.#hasEnded) return
    this.#hasEnded = true
    this.#thrown = thrown
    for (const signal of this.#signals) signal.removeEventListener('abort', this.#onAbort)
    this.#progress.end()
    report()
    if (isPromise(this.#source) || this.#source?.isOver === false) this.#controller?.abort(reason)
    void andThen(this.#source, (source) => { source?.close(reason) })
    this.#answer()
  }

  /** After the end: what ended it is thrown to the first who asks, and nothing comes any more. */
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
