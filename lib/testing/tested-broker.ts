import type { Answers, Broker, CancelResult, Joined, JoinOptions, Published, PublishOptions, Revocation, Stream } from '../streams/broker.js'
import { isPromise, type MaybePromise } from '../util/maybe-promise.js'
import { inTime } from './deadline.js'
import { SHOWN_UNITS, type RecordingNode } from './recording-node.js'

/**
 * The broker of one node, as the tests call it. Each call reaches the broker at once, and its result is a promise that rejects
 * after the deadline. The node records when joins begin and return.
 */
export class TestedBroker {
  /** The broker itself, as the fixture knows it. */
  readonly original: Broker
  readonly #node: RecordingNode
  readonly #deadlineMs: number
  #isClosed = false

  constructor (original: Broker, node: RecordingNode, deadlineMs: number) {
    this.original = original
    this.#node = node
    this.#deadlineMs = deadlineMs
  }

  get canLoseHistory (): boolean {
    return this.original.canLoseHistory === true
  }

  publish (stream: Stream, body: string, options: PublishOptions): Promise<Published> {
    return this.#call(`publish of ${body.slice(0, SHOWN_UNITS)}`, () => this.original.publish(stream, body, options))
  }

  join (stream: Stream, options?: JoinOptions): Promise<Joined> {
    this.#node.record({ type: 'join', stream })
    const returned = (joined: Joined): Joined => {
      this.#node.record({ type: 'joined', stream, joined })
      return joined
    }
    return this.#call(`join of ${stream}`, () => {
      const joined = this.original.join(stream, options)
      // Recorded as early as possible: a delivery right after it counts as later.
      return isPromise(joined) ? joined.then(returned) : returned(joined)
    })
  }

  leave (stream: Stream): void {
    this.original.leave(stream)
    this.#node.record({ type: 'leave', stream })
  }

  currentJob (stream: Stream): Promise<string | undefined> {
    return this.#call('currentJob', () => this.original.currentJob(stream))
  }

  adopt (stream: Stream, jobId: string): Promise<boolean> {
    return this.#call('adopt', () => this.original.adopt(stream, jobId))
  }

  release (stream: Stream, jobId: string): Promise<boolean> {
    return this.#call('release', () => this.original.release(stream, jobId))
  }

  revoke (revocation: Revocation): Promise<void> {
    return this.#call('revoke', () => this.original.revoke(revocation))
  }

  cancel (stream: Stream, jobId: string): Promise<CancelResult> {
    return this.#call('cancel', () => this.original.cancel(stream, jobId))
  }

  ask (question: string): Promise<Answers> {
    return this.#call('ask', () => this.original.ask(question))
  }

  /** Closes the broker, unless it is closed already. */
  async close (): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    await this.#call('close', () => this.original.close())
    this.#node.record({ type: 'closed' })
  }

  #call<T> (name: string, call: () => MaybePromise<T>): Promise<T> {
    const result = inTime(this.#deadlineMs, new Promise<T>((resolve) => { resolve(call()) }), () => `${name} did not settle`)
    // A test that fails does not wait for its other calls. Their rejections would end the process.
    result.catch(() => undefined)
    return result
  }
}
