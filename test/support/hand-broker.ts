import type { Answers, Broker, BrokerNode, CancelResult, Joined, JoinOptions, Published, PublishOptions, Revocation, Stream } from '../../lib/streams/broker.js'
import type { Clock } from '../../lib/util/clock.js'
import type { MaybePromise } from '../../lib/util/maybe-promise.js'
import { memoryBroker, type Bounds, type TestMemoryBroker } from './memory-broker.js'

interface Call { what: 'publish' | 'join' | 'revoke' | 'cancel' | 'currentJob' | 'adopt' | 'release', stream: Stream | undefined, work: () => void, answer: () => void, fail: (error: Error) => void }

/**
 * A fake of a remote broker. Its calls stay pending until the test answers them. A result reflects the state at the time of the
 * answer, as the contract requires. It arrives after a turn of the event loop (see `turn`).
 */
export class HandBroker implements Broker {
  readonly calls: Call[] = []
  readonly #memory: TestMemoryBroker

  constructor (clock: Clock, bounds?: Bounds) {
    this.#memory = memoryBroker(clock, bounds)
  }

  open (node: BrokerNode): void { this.#memory.open(node) }
  leave (stream: Stream): void { this.#memory.leave(stream) }
  close (): void { this.#memory.close() }

  join (stream: Stream, options?: JoinOptions): Promise<Joined> {
    return this.#put('join', stream, () => this.#memory.join(stream, options))
  }

  publish (stream: Stream, body: string, options: PublishOptions): Promise<Published> {
    return this.#put('publish', stream, () => this.#memory.publish(stream, body, options))
  }

  currentJob (stream: Stream): Promise<string | undefined> {
    return this.#put('currentJob', stream, () => this.#memory.currentJob(stream))
  }

  adopt (stream: Stream, jobId: string): Promise<boolean> {
    return this.#put('adopt', stream, () => this.#memory.adopt(stream, jobId))
  }

  release (stream: Stream, jobId: string): Promise<boolean> {
    return this.#put('release', stream, () => this.#memory.release(stream, jobId))
  }

  revoke (revocation: Revocation): Promise<void> {
    return this.#put('revoke', undefined, () => { this.#memory.revoke(revocation) })
  }

  cancel (stream: Stream, jobId: string): Promise<CancelResult> {
    return this.#put('cancel', undefined, () => this.#memory.cancel(stream, jobId))
  }

  ask (question: string): Answers { return this.#memory.ask(question) }

  /** The pending calls, such as `join session:s`. */
  get waiting (): string[] {
    return this.calls.map(({ what, stream }) => stream === undefined ? what : `${what} ${stream}`)
  }

  /**
   * Answers the oldest pending call of this kind. Without a kind, answers all pending calls, but none of those that result from
   * the answers.
   */
  answer (which?: string): void {
    for (const call of this.#take(which)) call.answer()
  }

  fail (which?: string, error = new Error('the broker is away')): void {
    for (const call of this.#take(which)) call.fail(error)
  }

  /** Executes the oldest pending call of this kind but rejects it, as if its result were lost in transit. */
  loseAnswer (which: string): void {
    for (const call of this.#take(which)) {
      call.work()
      call.fail(new Error('the answer is lost'))
    }
  }

  #take (which: string | undefined): Call[] {
    if (which === undefined) return this.calls.splice(0)
    const at = this.waiting.indexOf(which)
    if (at === -1) throw new Error(`nobody waits for ${which}, only for: ${this.waiting.join(', ')}`)
    return this.calls.splice(at, 1)
  }

  #put<T> (what: Call['what'], stream: Stream | undefined, work: () => MaybePromise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      this.calls.push({ what, stream, work: () => { void work() }, answer: () => { resolve(work()) }, fail: reject })
    })
  }
}

/** Resolves after the handlers of all settled promises have run. */
export function turn (): Promise<void> {
  return new Promise((resolve) => { setImmediate(resolve) })
}
