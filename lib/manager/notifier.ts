import type { Broker, Published, PublishOptions, Stream, Stub } from '../streams/broker.js'
import { isoTimestamps, type Clock } from '../util/clock.js'
import { TIMED_OUT, withDeadline } from '../util/deadline.js'
import type { DropReason } from '../streams/session-jobs.js'
import { isPromise, tryThen, type MaybePromise } from '../util/maybe-promise.js'
import type { AIErrorInfo, AIProgress, AIResult, AITask } from '../protocol/messages.js'
import type { Cancellations } from '../connections/cancellations.js'
import type { Counters } from '../connections/counters.js'
import type { Logger } from '../util/logger.js'
import { checkBody, serialize } from '../util/app-values.js'
import { checkId, readCount, readError, readOption, readProgress } from './report-values.js'
import { stubOf } from './stub.js'
import { Watchdog, type WatchedJob } from './watchdog.js'

/** What became of a notification. */
export interface Receipt {
  /** Which life of the session's or the user's stream it belongs to. Absent after the app was closed. */
  epoch?: string
  /** Its number in the stream; for a message that is not numbered, the latest one before it. Absent after the app was closed. */
  seq?: number
  /** How many connections it was handed to. 0 when nobody follows, which is no error. */
  recipients: number
  /** The job that it was about. */
  jobId?: string
  /**
   * Why it was not passed on: its job has `ended`, or has `started` already, or it is a `stray` that belongs to no job. A
   * result is never dropped where no `jobId` was given.
   */
  dropped?: DropReason
  /**
   * False where a numbered message was sent, but is not kept as it is for clients that come later: it was too large, there
   * was no room, or no messages are kept. Of a start or an end a short form may be kept, marked as `truncated`. Absent
   * otherwise.
   */
  kept?: false
}

/** A report on a job. What it says is checked when it is sent. */
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
  /** A job without a report for this long counts as stalled, in milliseconds. */
  readonly stallAfterMs: number
  /** How long `close` may take to report the jobs that still run, in milliseconds. */
  readonly closeTimeoutMs: number
}

/** How long a failed report of an interrupted job waits for its next attempt, in milliseconds: twice as long each time. */
const MIN_RETRY_MS = 50
const MAX_RETRY_MS = 1_000

export const STALLED = {
  type: 'ai_error', error: { message: 'nothing was heard of the job for too long', type: 'stalled' }, presumed: true
} as const satisfies Report

/** The end of a job whose own can't be sent. It says nothing of the app. */
export const UNSENDABLE = {
  type: 'ai_error', error: { message: 'the job has ended, but its result can\'t be written as JSON', type: 'internal_error' }
} as const satisfies Report

export const INTERRUPTED = {
  type: 'ai_error', error: { message: 'the server was stopped while the job was running', type: 'interrupted' }, presumed: true
} as const satisfies Report

/** Which job a report is about. */
export interface JobReference {
  readonly jobId?: string | undefined
}

/** Writes messages down and hands them to the broker, and sees to it that nobody needs to await that. */
export class Notifier {
  readonly timestamp: () => string
  readonly #options: NotifierOptions
  readonly #watchdog: Watchdog
  /** What the broker has not answered yet. */
  readonly #underWay = new Set<Promise<unknown>>()
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
   * Takes nothing more, and ends the jobs that this process runs: those too whose start is on its way at this moment.
   * Resolves when every outcome is known, and after `closeTimeoutMs` at the latest: with `TIMED_OUT` if the broker left a
   * report unanswered.
   */
  async close (): Promise<typeof TIMED_OUT | undefined> {
    this.#closed = true
    const { clock, closeTimeoutMs } = this.#options
    const endsAt = clock.monotonic() + closeTimeoutMs
    // A report that the broker never answers must not keep the others from being told.
    const answers = this.#underWay.size > 0 ? await withDeadline(clock, closeTimeoutMs / 2, Promise.allSettled(this.#underWay)) : undefined
    await Promise.all(this.#watchdog.stop().map((job) => this.#interrupt(job, endsAt)))
    return answers === TIMED_OUT ? TIMED_OUT : undefined
  }

  /** Ends a job of which nothing was heard for too long. Rejects while it is not known that its subscribers were told. */
  #stall ({ sessionId, jobId }: WatchedJob): Promise<Receipt> {
    const { log, cancellations } = this.#options
    log.warn({ sessionId, jobId }, 'nothing was heard of a job for too long: it counts as stalled')
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

  /** Never throws; `prepare` may. */
  publish (what: string, prepare: () => [Stream, string, PublishOptions]): Promise<Receipt> {
    return this.observe(what, () => {
      const [stream, body, options] = prepare()
      return this.#closed ? { recipients: 0 } : this.#options.broker.publish(stream, body, options)
    })
  }

  /** Reports on a job: the one that `about` names, otherwise by the rules for calls that name only the session. */
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
   * Writes a report down. An end that can't be written ends the job all the same: otherwise the subscribers of a job whose
   * reporter does not await the outcome would wait for it forever.
   */
  #writeOrEnd (sessionId: string, report: Report, jobId: string | undefined): [body: string, options: PublishOptions] {
    try {
      return this.#write(sessionId, report, jobId)
    } catch (error) {
      if (report.type === 'ai_complete' || report.type === 'ai_error') void this.report(sessionId, UNSENDABLE, { jobId })
      throw error
    }
  }

  /** The source of a job threw while it was aborted. That is no end: the job has one. */
  warn ({ sessionId, jobId }: { sessionId: string, jobId: string }, message: string, fields?: Readonly<Record<string, unknown>>): void {
    this.#options.log.warn({ ...fields, sessionId, jobId }, message)
  }

  /** A job that is being watched over: one that has begun, and has not ended. */
  watched (sessionId: string, jobId: string): WatchedJob | undefined {
    return this.#watchdog.find(sessionId, jobId)
  }

  /** A broker that answers at once is heard at once: a cancel right behind an end finds nobody who listens. */
  #send (
    sessionId: string, report: Report, body: string, options: PublishOptions, jobId: string | undefined
  ): MaybePromise<Receipt> {
    return tryThen(() => this.#options.broker.publish(`session:${sessionId}`, body, options), (published) => {
      this.#note(sessionId, report.type, published)
      return published
    }, (error) => {
      // It may have been taken all the same. So the job is watched, and ends as stalled unless a report gets through.
      if (jobId !== undefined && !this.#closed && !isPresumed(report)) this.#watchdog.keepAlive(sessionId, jobId)
      throw error
    })
  }

  /** Begins at once. Never throws, and the rejection of its promise is observed already. */
  observe<T> (what: string, work: () => MaybePromise<T>): Promise<T> {
    const result = attempt(work)
    // Nothing to wait for, nothing to observe; and this is the way that nearly all take.
    if (!isPromise(result)) return Promise.resolve(result)
    const promise = Promise.resolve(result)
    this.#underWay.add(promise)
    promise.catch((err: unknown) => {
      this.#options.counters.failed++
      this.#options.log.error({ err, what }, 'a notification failed')
    }).finally(() => { this.#underWay.delete(promise) })
    return promise
  }

  #write (sessionId: string, report: Report, jobId: string | undefined): [body: string, options: PublishOptions] {
    const { type } = report
    const timestamp = this.timestamp()
    switch (type) {
      case 'ai_start': {
        const task = checkBody('task', report.task)
        const stub = (): Stub => stubOf({ type, sessionId, timestamp }, 'task', task)
        return [serialize({ type, sessionId, task, timestamp }), { durable: true, job: { event: 'start', jobId }, stub }]
      }
      case 'ai_progress': {
        const { delta, chunksReceived, progress } = readProgress(report.progress)
        const head = `{"type":"ai_progress","sessionId":${JSON.stringify(sessionId)},"progress":${serialize(progress)}`
        return [`${head},"timestamp":"${timestamp}"}`, {
          durable: false,
          job: { event: 'progress', jobId, chunks: countOf(chunksReceived) },
          // Behind its last field, before its brace.
          textAt: head.length - 1,
          delta,
          stub: () => stubOf({ type, sessionId, timestamp }, 'progress', progress)
        }]
      }
      case 'ai_complete': {
        const result = checkBody('result', report.result) as AIResult
        const job = { event: 'complete', jobId, chunks: readCount(result, 'chunks') } as const
        const stub = (): Stub => stubOf({ type, sessionId, timestamp }, 'result', result)
        return [serialize({ type, sessionId, result, timestamp }), { durable: true, job, stub }]
      }
      case 'ai_error': {
        const job = { event: 'error', jobId, presumed: isPresumed(report) } as const
        const error = readError(report.error)
        const stub = (): Stub => stubOf({ type, sessionId, timestamp }, 'error', error)
        return [serialize({ type, sessionId, error, timestamp }), { durable: true, job, stub }]
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

/** A throw becomes a rejection. */
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
