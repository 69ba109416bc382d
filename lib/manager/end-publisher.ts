import type { Broker, Published, PublishOptions, Stream } from '../streams/broker.js'
import type { Clock, Timer } from '../util/clock.js'
import type { Logger } from '../util/logger.js'
import { andThen, isPromise, type MaybePromise } from '../util/maybe-promise.js'

/** Delay before ends are repeated, in milliseconds. Doubles with each failure. */
const MIN_DELAY_MS = 50
const MAX_DELAY_MS = 1_000
/** An attempt that takes longer counts as failed, in milliseconds. Its result still counts if it comes later. */
const ATTEMPT_TIMEOUT_MS = 5_000
/** Total length of the bodies that may wait, in UTF-16 units. */
const MAX_WAITING_UNITS = 32 * 1024 * 1024
/** Attempts at the same time. The broker remembers the results of 64. */
const MAX_ATTEMPTS = 32

/** An end to publish, and how to repeat it. */
export interface End {
  readonly stream: Stream
  readonly body: string
  readonly options: PublishOptions
  /** The job of an end without a `jobId`, if it has to be repeated: a newer job may have started since. */
  readonly fallbackJobId?: string | undefined
  /** Publishes what must come before the end. Called before each attempt. Returns undefined if there is nothing. */
  readonly prepare?: (() => MaybePromise<unknown>) | undefined
  /** Called once if the end has to be published again. */
  readonly onWaiting?: (() => void) | undefined
  /** Returns whether the end must not be repeated, because the job has reported again. */
  readonly isObsolete?: (() => boolean) | undefined
}

/** An end whose outcome is not known yet. */
interface WaitingEnd extends End {
  /** Whether the options name the fallback job, because the end had no `jobId`. */
  readonly isForgiving: boolean
  readonly decide: (published: Published | PromiseLike<Published | undefined> | undefined) => void
  readonly fail: (error: unknown) => void
  /** The timeout of the attempt that is under way. */
  timeout: Timer | undefined
}

/**
 * Publishes the ends of jobs. While the outcome of an end is unknown, it is published again with the same `counter`, so that
 * the broker accepts it once. During an outage one end is tried at a time. When one succeeds, the others follow in their order.
 */
export class EndPublisher {
  readonly #broker: Broker
  readonly #clock: Clock
  readonly #log: Logger
  readonly #waiting = new Map<number, WaitingEnd>()
  #counter = 0
  #waitingUnits = 0
  #delayMs = MIN_DELAY_MS
  #timer: Timer | undefined
  #stopped = false

  constructor ({ broker, clock, log }: { broker: Broker, clock: Clock, log: Logger }) {
    this.#broker = broker
    this.#clock = clock
    this.#log = log
  }

  /**
   * Publishes an end. Resolves when its outcome is known, or with undefined if it is obsolete. Rejects with the broker's error if
   * too many ends wait already, and after `stop`.
   */
  publish (end: End): MaybePromise<Published | undefined> {
    const { stream, body, fallbackJobId } = end
    const counter = ++this.#counter
    const numbered = { ...end.options, counter }
    let published: MaybePromise<Published>
    try {
      published = andThen(end.prepare?.(), () => this.#broker.publish(stream, body, numbered))
      if (!isPromise(published)) return published
    } catch (error) {
      published = new Promise(() => { throw error })
    }
    const first = published
    return new Promise((resolve, reject) => {
      const { job } = numbered
      const isForgiving = job !== undefined && job.jobId === undefined && fallbackJobId !== undefined
      const options = isForgiving ? { ...numbered, job: { ...job, jobId: fallbackJobId } } : numbered
      this.#await(first, { ...end, options, isForgiving, decide: resolve, fail: reject, timeout: undefined }, counter)
    })
  }

  /** Repeats the waiting ends now, because the store can be reached again. */
  retryNow (): void {
    this.#delayMs = MIN_DELAY_MS
    this.#probe()
  }

  /** Stops repeating. The promises of the waiting ends reject. */
  stop (): void {
    this.#stopped = true
    this.#timer?.cancel()
    const error = new Error('the server was closed before the outcome of the end was known')
    for (const { timeout, fail } of this.#waiting.values()) {
      timeout?.cancel()
      fail(error)
    }
    this.#waiting.clear()
  }

  /** Waits for the result of an attempt. */
  #await (published: PromiseLike<Published>, end: WaitingEnd, counter: number): void {
    const timeout = this.#clock.after(ATTEMPT_TIMEOUT_MS, () => {
      this.#failed(end, counter, timeout, new Error('the broker did not answer in time'))
    })
    end.timeout = timeout
    published.then((result) => { this.#decided(end, counter, result) }, (error: unknown) => { this.#failed(end, counter, timeout, error) })
  }

  /** Publishes an end again. Returns false if it is obsolete. */
  #attempt (end: WaitingEnd, counter: number): boolean {
    const { stream, body, options } = end
    if (end.isObsolete?.() === true) {
      this.#forget(end, counter)
      end.decide(undefined)
      return false
    }
    this.#await((async () => await andThen(end.prepare?.(), () => this.#broker.publish(stream, body, options)))(), end, counter)
    return true
  }

  #decided (end: WaitingEnd, counter: number, result: Published): void {
    end.timeout?.cancel()
    end.timeout = undefined
    end.decide(end.isForgiving && result.dropped === 'ended' ? this.#publishForgiving(end) : result)
    if (!this.#forget(end, counter)) return
    this.#delayMs = MIN_DELAY_MS
    if (this.#waiting.size === 0) this.#log.info({}, 'all ends of jobs that were waiting for the broker are published')
    const isUnderWay = ({ timeout }: WaitingEnd): boolean => timeout !== undefined
    let attempts = [...this.#waiting.values()].filter(isUnderWay).length
    for (const [other, waiting] of this.#waiting) {
      if (attempts >= MAX_ATTEMPTS) return
      if (!isUnderWay(waiting) && this.#attempt(waiting, other)) attempts++
    }
  }

  /** The job that was chosen for an end has another one. A result without a job id is never dropped, so the broker chooses now. */
  async #publishForgiving ({ stream, body, options: { job, counter: _used, ...options } }: WaitingEnd): Promise<Published | undefined> {
    return await this.publish({ stream, body, options: { ...options, ...job && { job: { ...job, jobId: undefined } } } })
  }

  /** Returns whether the end was waiting. */
  #forget ({ body }: WaitingEnd, counter: number): boolean {
    if (!this.#waiting.delete(counter)) return false
    this.#waitingUnits -= body.length
    return true
  }

  #failed (end: WaitingEnd, counter: number, timeout: Timer, err: unknown): void {
    timeout.cancel()
    // The attempt has timed out before, or the end was published by another one.
    if (end.timeout !== timeout) return
    end.timeout = undefined
    const wasWaiting = this.#waiting.delete(counter)
    if (this.#stopped || (!wasWaiting && this.#waitingUnits + end.body.length > MAX_WAITING_UNITS)) {
      end.fail(err)
      return
    }
    if (this.#waiting.size === 0 && !wasWaiting) this.#log.warn({ err }, 'the broker did not confirm the end of a job: such ends are published again until it does')
    // At the end of the order, so that an end that the broker never accepts does not stop the others.
    this.#waiting.set(counter, end)
    if (!wasWaiting) {
      this.#waitingUnits += end.body.length
      end.onWaiting?.()
    }
    this.#schedule()
  }

  #schedule (): void {
    if (this.#timer !== undefined || this.#stopped) return
    this.#timer = this.#clock.after(this.#delayMs, () => { this.#probe() })
    this.#delayMs = Math.min(2 * this.#delayMs, MAX_DELAY_MS)
  }

  /** Tries the end that was tried least recently. */
  #probe (): void {
    this.#timer?.cancel()
    this.#timer = undefined
    for (const [counter, end] of this.#waiting) {
      if (end.timeout === undefined && this.#attempt(end, counter)) return
    }
  }
}
