import type { Broker, Published, PublishOptions, Stream } from '../streams/broker.js'
import { isoTimestamps, type Clock } from '../util/clock.js'
import { TIMED_OUT, withDeadline } from '../util/deadline.js'
import type { DropReason } from '../streams/session-jobs.js'
import { isPromise, tryThen, type MaybePromise } from '../util/maybe-promise.js'
import type { AIErrorInfo, AIProgress, AIResult, AITask } from '../protocol/messages.js'
import type { Cancellations } from '../connections/cancellations.js'
import type { Counters } from '../connections/counters.js'
import type { Logger } from '../util/logger.js'
import { progressBody } from '../protocol/json.js'
import { checkBody, serialize } from '../util/app-values.js'
import { checkId, readCount, readError, readOption, readProgress } from './report-values.js'
import { shortFormOf } from './short-form.js'
import { Watchdog, type WatchedJob } from './watchdog.js'

/** Result of a notification. */
export interface Receipt {
  /** Epoch of the session's or user's stream. It changes when the numbering begins anew, such as after a restart. Absent after the app was closed. */
  epoch?: string
  /**
   * Sequence number in the stream. For an unnumbered message, the number of the latest one. Absent after the app was closed.
   */
  seq?: number
  /** Number of connections that it was sent to. 0 without subscribers, which is not an error. */
  recipients: number
  /** Id of its job. */
  jobId?: string
  /**
   * Why it was not sent: its job has `ended`, its job has already `started`, or it is a `stray` that belongs to no job. A
   * result without a `jobId` is never dropped.
   */
  dropped?: DropReason
  /**
   * False if a numbered message was sent, but not kept for replay: it was too large, there was no room, or no messages are
   * kept. A short form of a start or end may be kept, marked as `truncated`. Absent otherwise.
   */
  kept?: false
}

/** Report on a job. Its content is validated when it is sent. */
export type Report =
  | { readonly type: 'ai_start', readonly task: AITask }
  | { readonly type: 'ai_progress', readonly progress: AIProgress }
  | { readonly type: 'ai_complete', readonly result: AIResult }
  | { readonly type: 'ai_error', readonly error: AIErrorInfo | Error, readonly presumed?: boolean }

export interface NotifierOptions {
  readonly broker: Broker
  readonly clock: Clock
  readonly counters: Counters
  readonly cancellations: Cancellations
  readonly log: Logger
  /** Stall timeout of a job without reports, in milliseconds. */
  readonly stallAfterMs: number
  /** How long `close` may take to report the running jobs, in milliseconds. */
  readonly closeTimeoutMs: number
}

/** Delay before an interrupted job is reported again after a failure, in milliseconds. Doubles with each failure. */
const MIN_RETRY_MS = 50
const MAX_RETRY_MS = 1_000

export const STALLED = {
  type: 'ai_error', error: { message: 'the job stalled: it made no report for too long', type: 'stalled' }, presumed: true
} as const satisfies Report

/** End of a job whose own end can't be sent. Its message reveals nothing about the app. */
export const UNSENDABLE = {
  type: 'ai_error', error: { message: 'the job has ended, but its result can\'t be written as JSON', type: 'internal_error' }
} as const satisfies Report

export const INTERRUPTED = {
  type: 'ai_error', error: { message: 'the server was stopped while the job was running', type: 'interrupted' }, presumed: true
} as const satisfies Report

/** Selects the job of a report. */
export interface JobReference {
  readonly jobId?: string | undefined
}

/** Serializes messages and publishes them to the broker. Logs failures, so that callers need not await the promises. */
export class Notifier {
  readonly timestamp: () => string
  readonly #options: NotifierOptions
  readonly #watchdog: Watchdog
  /** Calls that the broker has not answered yet. */
  readonly #inFlight = new Set<Promise<unknown>>()
  #closed = false

  constructor (options: NotifierOptions) {
    this.#options = options
    this.timestamp = isoTimestamps(options.clock)
    const { clock, stallAfterMs } = options
    this.#watchdog = new Watchdog({ clock, stallAfterMs, onStall: (job) => this.#stall(job) })
  }

  get closed (): boolean {
    return this.#closed
  }

  /**
   * Accepts no further messages and ends the jobs of this process, including those whose start is still in flight. Resolves
   * when every outcome is known, or after `closeTimeoutMs`. Resolves with `TIMED_OUT` if the broker did not answer a report in
   * time.
   */
  async close (): Promise<typeof TIMED_OUT | undefined> {
    this.#closed = true
    const { clock, closeTimeoutMs } = this.#options
    const endsAt = clock.monotonic() + closeTimeoutMs
    // A report that the broker never answers must not delay the others.
    const answers = this.#inFlight.size > 0 ? await withDeadline(clock, closeTimeoutMs / 2, Promise.allSettled(this.#inFlight)) : undefined
    await Promise.all(this.#watchdog.stop().map((job) => this.#interrupt(job, endsAt)))
    return answers === TIMED_OUT ? TIMED_OUT : undefined
  }

  /** Ends a job as stalled. Rejects if the report could not be sent. */
  #stall ({ sessionId, jobId }: WatchedJob): Promise<Receipt> {
    const { log, cancellations } = this.#options
    log.warn({ sessionId, jobId }, 'a job made no report within the stall timeout: it counts as stalled')
    cancellations.stalled(sessionId, jobId)
    return this.report(sessionId, STALLED, { jobId })
  }

  async #interrupt ({ sessionId, jobId }: WatchedJob, endsAt: number): Promise<void> {
    const { clock } = this.#options
    const end = (): Promise<unknown> => this.observe('interrupted', () => this.#send(sessionId, INTERRUPTED, ...this.#write(sessionId, INTERRUPTED, jobId), jobId))
    for (let retryMs = MIN_RETRY_MS; ; retryMs = Math.min(2 * retryMs, MAX_RETRY_MS)) {
      const leftMs = endsAt - clock.monotonic()
      const outcome = await withDeadline(clock, leftMs, end().then(() => 'known', () => 'failed'))
      if (outcome !== 'failed' || endsAt - clock.monotonic() <= retryMs) return
      await new Promise<void>((resolve) => { clock.after(retryMs, resolve) })
    }
  }

  /** Publishes the message that `prepare` returns. Never throws: if `prepare` throws, the promise rejects. */
  publish (what: string, prepare: () => [Stream, string, PublishOptions]): Promise<Receipt> {
    return this.observe(what, () => {
      const [stream, body, options] = prepare()
      return this.#closed ? { recipients: 0 } : this.#options.broker.publish(stream, body, options)
    })
  }

  /** Reports on the job that `about` selects. Without it, the rules for calls without a `jobId` apply. */
  report (sessionId: string, report: Report, about?: JobReference | null): Promise<Receipt> {
    return this.observe(report.type, () => {
      checkId('sessionId', sessionId)
      const jobId = readOption(about, 'jobId')
      if (jobId !== undefined) checkId('jobId', jobId)
      const [body, options] = this.#writeOrEnd(sessionId, report, jobId)
      return this.#closed ? { recipients: 0 } : this.#send(sessionId, report, body, options, jobId)
    })
  }

  /**
   * Serializes a report. If an end can't be serialized, the job ends with `UNSENDABLE` instead. Otherwise its subscribers would
   * wait forever, unless the app awaits the promise and ends the job again.
   */
  #writeOrEnd (sessionId: string, report: Report, jobId: string | undefined): [body: string, options: PublishOptions] {
    try {
      return this.#write(sessionId, report, jobId)
    } catch (error) {
      if (report.type === 'ai_complete' || report.type === 'ai_error') void this.report(sessionId, UNSENDABLE, { jobId })
      throw error
    }
  }

  /** Logs a warning about a job. */
  warn ({ sessionId, jobId }: { sessionId: string, jobId: string }, message: string, fields?: Readonly<Record<string, unknown>>): void {
    this.#options.log.warn({ ...fields, sessionId, jobId }, message)
  }

  /** Returns a job that the watchdog watches: it has started and has not ended. */
  watched (sessionId: string, jobId: string): WatchedJob | undefined {
    return this.#watchdog.find(sessionId, jobId)
  }

  /** Handles a synchronous answer synchronously, so that a cancel right after an end finds no handle. */
  #send (
    sessionId: string, report: Report, body: string, options: PublishOptions, jobId: string | undefined
  ): MaybePromise<Receipt> {
    return tryThen(() => this.#options.broker.publish(`session:${sessionId}`, body, options), (published) => {
      this.#note(sessionId, report.type, published)
      return published
    }, (error) => {
      // The broker may have published it despite the error. So the job is watched, and ends as stalled if no report gets
      // through.
      if (jobId !== undefined && !this.#closed && !isPresumed(report)) this.#watchdog.keepAlive(sessionId, jobId)
      throw error
    })
  }

  /** Starts `work` at once. Never throws. A rejection is logged and counted, so it never becomes an unhandled rejection. */
  observe<T> (what: string, work: () => MaybePromise<T>): Promise<T> {
    const result = attempt(work)
    // The usual case: a synchronous broker leaves nothing to wait for.
    if (!isPromise(result)) return Promise.resolve(result)
    const promise = Promise.resolve(result)
    this.#inFlight.add(promise)
    promise.catch((err: unknown) => {
      this.#options.counters.failed++
      this.#options.log.error({ err, what }, 'a notification failed')
    }).finally(() => { this.#inFlight.delete(promise) })
    return promise
  }

  #write (sessionId: string, report: Report, jobId: string | undefined): [body: string, options: PublishOptions] {
    const { type } = report
    const timestamp = this.timestamp()
    switch (type) {
      case 'ai_start': {
        const task = checkBody('task', report.task)
        const shortForm = (): string => shortFormOf({ type, sessionId, timestamp }, 'task', task)
        return [serialize({ type, sessionId, task, timestamp }), { durable: true, job: { event: 'start', jobId }, shortForm }]
      }
      case 'ai_progress': {
        const { delta, chunksReceived, progress } = readProgress(report.progress)
        return [progressBody(sessionId, timestamp, serialize(progress)), {
          durable: false,
          job: { event: 'progress', jobId, chunks: countOf(chunksReceived) },
          delta,
          shortForm: () => shortFormOf({ type, sessionId, timestamp }, 'progress', progress)
        }]
      }
      case 'ai_complete': {
        const result = checkBody('result', report.result) as AIResult
        const job = { event: 'complete', jobId, chunks: readCount(result, 'chunks') } as const
        const shortForm = (): string => shortFormOf({ type, sessionId, timestamp }, 'result', result)
        return [serialize({ type, sessionId, result, timestamp }), { durable: true, job, shortForm }]
      }
      case 'ai_error': {
        const job = { event: 'error', jobId, presumed: isPresumed(report) } as const
        const error = readError(report.error)
        const shortForm = (): string => shortFormOf({ type, sessionId, timestamp }, 'error', error)
        return [serialize({ type, sessionId, error, timestamp }), { durable: true, job, shortForm }]
      }
    }
  }

  #note (sessionId: string, type: Report['type'], { jobId, dropped }: Published): void {
    const { cancellations, log } = this.#options
    if (dropped !== undefined) log.info({ sessionId, type, dropped }, 'a notification was dropped')
    if (jobId === undefined) return
    if (type === 'ai_start' || type === 'ai_progress') {
      this.#watchdog.keepAlive(sessionId, jobId)
    } else {
      this.#watchdog.ended(sessionId, jobId)
      cancellations.ended(sessionId, jobId)
    }
  }
}

function isPresumed (report: Report): boolean {
  return report.type === 'ai_error' && report.presumed === true
}

/** Calls `work` and turns a throw into a rejection. */
function attempt<T> (work: () => MaybePromise<T>): MaybePromise<T> {
  try {
    return work()
  } catch (error) {
    return new Promise(() => { throw error })
  }
}

function countOf (value: unknown): number | undefined {
  return typeof value === 'number' ? value : undefined
}
