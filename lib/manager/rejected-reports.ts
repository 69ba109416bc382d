import { addFields } from '../protocol/json.js'
import type { Broker, BrokerNode, Published } from '../streams/broker.js'
import { andThen, type MaybePromise } from '../util/maybe-promise.js'
import type { JobReport, OwnJobs } from './own-jobs.js'

/**
 * The reports on this node's own jobs that the broker has rejected. This node's clients get them at once. What the broker lacks is
 * published before the job's next report or end.
 */
export class RejectedReports {
  readonly #broker: Broker
  readonly #deliver: BrokerNode['deliver']
  readonly #own: OwnJobs

  constructor ({ broker, deliver }: { broker: Broker, deliver: BrokerNode['deliver'] }, own: OwnJobs) {
    this.#broker = broker
    this.#deliver = deliver
    this.#own = own
  }

  /** Publishes a start or a progress. If the broker has rejected the start of its job, publishes that first, and then all of the job's text. */
  publish (sessionId: string, report: JobReport): MaybePromise<Published> {
    const { event, jobId } = report.options.job
    if (event !== 'progress' || jobId === undefined || this.#own.lateStart(sessionId, jobId) === undefined) return this.#publish(report)
    return andThen(this.#publishStart(sessionId, jobId), () => this.#publish(this.#own.missing(sessionId, jobId) ?? report))
  }

  /** Publishes the start and the text that the broker may lack, before the end of their job. Returns undefined if there are none. */
  publishMissing (sessionId: string, jobId: string): MaybePromise<unknown> {
    const publish = (report: JobReport | undefined): MaybePromise<unknown> =>
      report && andThen(this.#publish(report), (published) => publish(this.#own.published(sessionId, report, published)))
    return andThen(this.#publishStart(sessionId, jobId), () => publish(this.#own.missing(sessionId, jobId)))
  }

  /**
   * Delivers a start or a progress to the clients of this node. Returns their number, or undefined for a start, and if the place of the
   * text is not known.
   */
  deliver (sessionId: string, report: JobReport): number | undefined {
    const start = this.#own.startRejected(sessionId, report)
    if (start !== undefined) this.#deliverBody(report, start)
    const publication = this.#own.rejected(sessionId, report)
    return publication && this.#deliver(report.stream, publication)
  }

  /** Delivers the end of a job that this node runs to its own clients, because the broker has not confirmed it. */
  deliverEnd (sessionId: string, jobId: string, report: JobReport): void {
    if (report.options.job.presumed === true || !this.#own.runs(sessionId, jobId)) return
    this.#deliverBody(report, addFields(report.body, { jobId }, false))
  }

  /** The job is named in the body alone, because a progress with the same job would otherwise replace it, or be replaced by it. */
  #deliverBody ({ stream }: JobReport, body: string): void {
    this.#deliver(stream, { body, durable: false, revision: -Infinity })
  }

  #publish ({ stream, body, options }: JobReport): MaybePromise<Published> {
    return this.#broker.publish(stream, body, options)
  }

  /** Publishes the start of a job that the broker has rejected. */
  #publishStart (sessionId: string, jobId: string): MaybePromise<unknown> {
    const start = this.#own.lateStart(sessionId, jobId)
    return start && andThen(this.#publish(start), (published) => this.#own.published(sessionId, start, published))
  }
}
