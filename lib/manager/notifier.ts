import type { Broker, BrokerNode, BrokerStatus, PublicationKey, Published, PublishOptions, Stream } from '../streams/broker.js'
import type { DropReason, Ownership, Transition } from '../streams/session-jobs.js'
import { newJobId } from '../streams/job-id.js'
import { isoTimestamps, type Clock } from '../util/clock.js'
import { TIMED_OUT, withDeadline } from '../util/deadline.js'
import { isPromise, tryThen, type MaybePromise } from '../util/maybe-promise.js'
import type { AIErrorInfo, AIProgress, AIResult, AITask } from '../protocol/messages.js'
import type { Cancellations } from '../connections/cancellations.js'
import type { Counters } from '../connections/counters.js'
import type { Logger } from '../util/logger.js'
import { progressBody } from '../protocol/json.js'
import { checkBody, serialize } from '../util/app-values.js'
import { checkId, readCount, readError, readOption, readProgress } from './report-values.js'
import { EndPublisher } from './end-publisher.js'
import { OwnJobs, type JobReport } from './own-jobs.js'
import { RejectedReports } from './rejected-reports.js'
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
  /**
   * True if the broker has not confirmed the end of a job within 5 seconds. The server keeps publishing it until the broker does.
   * You need not repeat it. Absent otherwise.
   */
  pending?: true
  /**
   * True if the broker did not accept the progress of a job, so that only clients of this node got it. Its text is published again
   * with the next report that the broker accepts. Absent otherwise.
   */
  local?: true
}

/** Report on a job. Its content is validated when it is sent. */
export type Report =
  | { readonly type: 'ai_start', readonly task: AITask }
  | { readonly type: 'ai_progress', readonly progress: AIProgress }
  | { readonly type: 'ai_complete', readonly result: AIResult }
  | { readonly type: 'ai_error', readonly error: AIErrorInfo | Error, readonly presumed?: boolean, readonly ownership?: Ownership }

export interface NotifierOptions {
  readonly broker: Broker
  /** Delivers a publication to the clients of this node alone. */
  readonly deliver: BrokerNode['deliver']
  readonly clock: Clock
  readonly counters: Counters
  readonly cancellations: Cancellations
  readonly log: Logger
  /** Stall timeout of a job without reports, in milliseconds. */
  readonly stallAfterMs: number
  /** Length of the text that is kept of a job of this node, in UTF-16 units. */
  readonly maxTextUnits: number
  /** How long `close` may take to report the running jobs, in milliseconds. */
  readonly closeTimeoutMs: number
}

/** How long a notification waits for the outcome of an end, in milliseconds. After it, its receipt is `pending`. */
const PENDING_AFTER_MS = 5_000

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
  /** Present if a worker without a node makes the report, with the idempotency key of its request. */
  readonly remote?: { readonly key: PublicationKey | undefined }
}

/** A report as text, and how to publish it. */
type Written = [body: string, options: PublishOptions & { readonly job: Transition }]

/** Serializes messages and publishes them to the broker. Logs failures, so that callers need not await the promises. */
export class Notifier {
  readonly timestamp: () => string
  readonly #options: NotifierOptions
  readonly #watchdog: Watchdog
  readonly #ends: EndPublisher
  /** Only needed if the broker can lose history. */
  readonly #ownJobs: OwnJobs | undefined
  readonly #rejected: RejectedReports | undefined
  /** Calls that the broker has not answered yet. */
  readonly #inFlight = new Set<Promise<unknown>>()
  #closed = false
  /** Whether the broker has rejected the latest progress of a job. */
  #isLocal = false
  /** Failures since the broker became unavailable. Undefined if it is available. */
  #outage: number | undefined

  constructor (options: NotifierOptions) {
    this.#options = options
    this.timestamp = isoTimestamps(options.clock)
    const { clock, stallAfterMs, broker } = options
    this.#ends = new EndPublisher(options)
    this.#ownJobs = broker.canLoseHistory === true ? new OwnJobs(options) : undefined
    this.#rejected = this.#ownJobs && new RejectedReports(options, this.#ownJobs)
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
    // A job that was released belongs to the process that adopts it.
    for (const { sessionId, jobId, isRemote } of this.#watchdog.stop()) {
      // Its worker reports to another node.
      if (isRemote) void this.observe('transfer', () => this.#options.broker.release(`session:${sessionId}`, jobId))
      else void this.observe('interrupted', () => this.#send(sessionId, ...this.#write(sessionId, INTERRUPTED, { jobId })))
    }
    if (this.#inFlight.size > 0) await withDeadline(clock, endsAt - clock.monotonic(), Promise.allSettled(this.#inFlight))
    this.#ends.stop()
    return answers === TIMED_OUT ? TIMED_OUT : undefined
  }

  /** Ends a job as stalled. Rejects if the report could not be sent. */
  #stall ({ sessionId, jobId }: WatchedJob): Promise<Receipt> {
    const { log, cancellations } = this.#options
    log.warn({ sessionId, jobId }, 'a job made no report within the stall timeout: it counts as stalled')
    cancellations.stalled(sessionId, jobId)
    return this.report(sessionId, STALLED, { jobId })
  }

  /** Ends a job whose node is gone, unless another node runs it by now. */
  orphaned (sessionId: string, jobId: string, ownership: Ownership): void {
    this.#options.log.warn({ sessionId, jobId }, 'no node runs a job any more: it counts as stalled')
    void this.report(sessionId, { ...STALLED, ownership }, { jobId })
  }

  /** Forgets a job that another node runs now. */
  disowned (sessionId: string, jobId: string): void {
    this.#ownJobs?.forget(sessionId, jobId)
    this.#watchdog.ended(sessionId, jobId)
    this.#options.cancellations.disowned(sessionId, jobId)
  }

  /** Makes this node run a job that another one has started. Resolves with whether it is running. */
  async adopt (sessionId: string, jobId: string): Promise<boolean> {
    const adopted = !this.#closed && await this.#options.broker.adopt(`session:${sessionId}`, jobId)
    if (adopted) this.#watchdog.keepAlive(sessionId, jobId)
    return adopted
  }

  /** Gives up a job, so that another node can adopt it. Resolves with whether this node ran it. */
  release (sessionId: string, jobId: string): Promise<boolean> {
    return this.observe('transfer', async () => {
      if (this.#closed || !await this.#options.broker.release(`session:${sessionId}`, jobId)) return false
      this.#ownJobs?.forget(sessionId, jobId)
      this.#watchdog.find(sessionId, jobId)?.release()
      return true
    })
  }

  /** Publishes the state of this node's jobs again, because the store has lost history. */
  async reseed (): Promise<void> {
    const { broker, log } = this.#options
    const own = this.#closed ? undefined : this.#ownJobs
    if (own === undefined) return
    const { sessions } = own
    const results = await Promise.allSettled([...sessions].map(async ([sessionId, jobs]) => {
      for (const { seeds } of jobs) {
        for (const report of seeds) {
          const published = await broker.publish(report.stream, report.body, report.options)
          own.published(sessionId, report, published)
        }
      }
    }))
    const failed = results.find((result) => result.status === 'rejected')
    if (failed !== undefined) log.error({ err: failed.reason as unknown }, 'the state of running jobs could not be published again')
    else if (sessions.size > 0) log.info({ sessions: sessions.size }, 'the state of this node\'s jobs was published again')
    this.#ends.retryNow()
  }

  /** Repeats waiting ends at once if the broker can be reached again. */
  statusChanged ({ state, reason }: BrokerStatus): void {
    const failed = this.#outage
    this.#outage = state === 'unavailable' ? failed ?? 0 : undefined
    const fields = { state, reason, ...(failed !== undefined && { failed }) }
    this.#options.log[state === 'ready' ? 'info' : 'warn'](fields, 'the status of the broker has changed')
    if (state === 'ready') this.#ends.retryNow()
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
      const remote = readOption(about, 'remote')
      const written = this.#writeOrEnd(sessionId, report, { jobId, ...(remote && { remote }) })
      return this.#closed ? { recipients: 0 } : this.#send(sessionId, ...written, remote !== undefined)
    })
  }

  /**
   * Serializes a report. If an end can't be serialized, the job ends with `UNSENDABLE` instead. Otherwise its subscribers would
   * wait forever, unless the app awaits the promise and ends the job again.
   */
  #writeOrEnd (sessionId: string, report: Report, about: JobReference): Written {
    try {
      return this.#write(sessionId, report, about)
    } catch (error) {
      if (report.type === 'ai_complete' || report.type === 'ai_error') void this.report(sessionId, UNSENDABLE, { jobId: about.jobId })
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
  #send (sessionId: string, body: string, options: Written[1], isRemote = false): MaybePromise<Receipt> {
    const report: JobReport = { stream: `session:${sessionId}`, body, options, isRemote }
    const published = this.#publishReport(sessionId, this.#ownJobs?.publishing(sessionId, report) ?? report)
    if (!isPromise(published) || !isEnd(options.job)) return published
    return this.#untilPending(published, options.job.jobId)
  }

  #publishReport (sessionId: string, report: JobReport): MaybePromise<Receipt> {
    const { options: { job } } = report
    return tryThen(() => {
      if (!isEnd(job)) return this.#rejected?.publish(sessionId, report) ?? this.#options.broker.publish(report.stream, report.body, report.options)
      const rejected = this.#rejected
      const fallbackJobId = this.#ownJobs?.newest(sessionId) ?? this.#watchdog.newest(sessionId)?.jobId
      const target = job.jobId ?? fallbackJobId
      return this.#ends.publish({
        ...report,
        fallbackJobId,
        ...(rejected !== undefined && target !== undefined && {
          prepare: () => rejected.publishMissing(sessionId, target),
          onWaiting: () => { rejected.deliverEnd(sessionId, target, report) }
        }),
        // The watchdog no longer watches a job that has stalled, unless it has reported again.
        isObsolete: job.presumed === true && job.jobId !== undefined ? () => this.#watchdog.find(sessionId, String(job.jobId)) !== undefined : undefined
      })
    }, (published) => {
      if (published === undefined) return { recipients: 0 }
      // It was counted where it was published first, perhaps on another node.
      if (published.repeated === true) return published
      const next = this.#ownJobs?.published(sessionId, report, published)
      if (next !== undefined) return this.#publishReport(sessionId, next)
      this.#isLocal = false
      this.#note(sessionId, job, published, report.isRemote)
      return published
    }, (error) => {
      // The broker may have published it despite the error. So the job is watched, and ends as stalled if no report gets
      // through.
      if (job.jobId !== undefined && !this.#closed && job.presumed !== true) this.#watchdog.keepAlive(sessionId, job.jobId, report.isRemote)
      return this.#localReceipt(sessionId, report, error)
    })
  }

  /** Returns the receipt of a report that only clients of this node got. Throws the broker's error if they did not. */
  #localReceipt (sessionId: string, report: JobReport, err: unknown): Receipt {
    const recipients = this.#rejected?.deliver(sessionId, report)
    if (recipients === undefined) throw err
    if (!this.#isLocal && this.#outage === undefined) this.#options.log.warn({ err }, 'the broker did not accept the progress of a job: only clients of this node get it')
    this.#isLocal = true
    const { jobId } = report.options.job
    return { recipients, local: true, ...(jobId !== undefined && { jobId }) }
  }

  /** Waits for the outcome of an end for a limited time. The end itself is repeated until its outcome is known. */
  async #untilPending (published: PromiseLike<Receipt>, jobId: string | undefined): Promise<Receipt> {
    const decided = this.#track(Promise.resolve(published))
    const receipt = await withDeadline(this.#options.clock, PENDING_AFTER_MS, decided)
    if (receipt !== TIMED_OUT) return receipt
    decided.catch((err: unknown) => { this.#failed('end', err) })
    return { recipients: 0, pending: true, ...(jobId !== undefined && { jobId }) }
  }

  /** Starts `work` at once. Never throws. A rejection is logged and counted, so it never becomes an unhandled rejection. */
  observe<T> (what: string, work: () => MaybePromise<T>): Promise<T> {
    const result = attempt(work)
    // The usual case: a synchronous broker leaves nothing to wait for.
    if (!isPromise(result)) return Promise.resolve(result)
    const promise = this.#track(Promise.resolve(result))
    promise.catch((err: unknown) => { this.#failed(what, err) })
    return promise
  }

  /** Makes `close` wait for a call. */
  #track<T> (promise: Promise<T>): Promise<T> {
    this.#inFlight.add(promise)
    const untrack = (): void => { this.#inFlight.delete(promise) }
    promise.then(untrack, untrack)
    return promise
  }

  #failed (what: string, err: unknown): void {
    this.#options.counters.failed++
    // One log entry for each would say the same again and again.
    if (this.#outage !== undefined && this.#outage++ > 0) return
    this.#options.log.error({ err, what }, 'a notification failed')
  }

  #write (sessionId: string, report: Report, { jobId: given, remote }: JobReference): Written {
    const { type } = report
    const key = remote?.key
    // A start without an id gets one here if this node keeps the state of its jobs. Otherwise the broker makes it.
    const jobId = given ?? (type === 'ai_start' && this.#ownJobs !== undefined ? newJobId() : undefined)
    const timestamp = this.timestamp()
    switch (type) {
      case 'ai_start': {
        const task = checkBody('task', report.task)
        const shortForm = (): string => shortFormOf({ type, sessionId, timestamp }, 'task', task)
        return [serialize({ type, sessionId, task, timestamp }), { durable: true, job: { event: 'start', jobId }, key, shortForm }]
      }
      case 'ai_progress': {
        const { delta, chunksReceived, progress } = readProgress(report.progress)
        return [progressBody(sessionId, timestamp, serialize(progress)), {
          durable: false,
          job: { event: 'progress', jobId, chunks: countOf(chunksReceived) },
          key,
          delta,
          shortForm: () => shortFormOf({ type, sessionId, timestamp }, 'progress', progress)
        }]
      }
      case 'ai_complete': {
        const result = checkBody('result', report.result) as AIResult
        const job = { event: 'complete', jobId, chunks: readCount(result, 'chunks') } as const
        const shortForm = (): string => shortFormOf({ type, sessionId, timestamp }, 'result', result)
        return [serialize({ type, sessionId, result, timestamp }), { durable: true, job, key, shortForm }]
      }
      case 'ai_error': {
        const { presumed = false, ownership } = report
        const job = { event: 'error', jobId, presumed, ...(ownership !== undefined && { ownership }) } as const
        const error = readError(report.error)
        const shortForm = (): string => shortFormOf({ type, sessionId, timestamp }, 'error', error)
        return [serialize({ type, sessionId, error, timestamp }), { durable: true, job, key, shortForm }]
      }
    }
  }

  #note (sessionId: string, job: Transition, { jobId, dropped }: Published, isRemote = false): void {
    const { log } = this.#options
    if (dropped !== undefined) {
      log.info({ sessionId, type: job.event, dropped }, 'a notification was dropped')
      if (job.jobId !== undefined) this.#noteDropped(sessionId, job.jobId, dropped, isRemote)
    }
    if (jobId === undefined) return
    if (isEnd(job)) this.#forget(sessionId, jobId)
    else this.#watchdog.keepAlive(sessionId, jobId, isRemote)
  }

  #noteDropped (sessionId: string, jobId: string, dropped: DropReason, isRemote: boolean): void {
    // Another node has ended the job, or runs it.
    if (dropped === 'ended' || dropped === 'owned') this.#forget(sessionId, jobId)
    // This node runs it now.
    else if (dropped === 'started') this.#watchdog.keepAlive(sessionId, jobId, isRemote)
  }

  #forget (sessionId: string, jobId: string): void {
    this.#watchdog.ended(sessionId, jobId)
    this.#options.cancellations.ended(sessionId, jobId)
  }
}

function isEnd ({ event }: Transition): boolean {
  return event === 'complete' || event === 'error'
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
