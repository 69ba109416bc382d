import type { Broker, BrokerNode, ControlMessage, Joined, ControlResult, Position, Published, PublishOptions, Stream } from '../../lib/streams/broker.js'
import type { MemoryBroker } from '../../lib/streams/memory-broker.js'
import type { Clock } from '../../lib/util/clock.js'
import type { MaybePromise } from '../../lib/util/maybe-promise.js'
import { memoryBroker, type Bounds } from './memory-broker.js'

interface Call { what: 'publish' | 'join' | 'control' | 'currentJob', stream: Stream | undefined, answer: () => void, fail: (error: Error) => void }

/**
 * A broker far away: it answers nothing until the test says so. An answer is true for the moment at which it is given, as
 * the contract wants it. Turn the event loop (`turn`) for it to arrive.
 */
export class HandBroker implements Broker {
  readonly calls: Call[] = []
  readonly #memory: MemoryBroker

  constructor (clock: Clock, bounds?: Bounds) {
    this.#memory = memoryBroker(clock, bounds)
  }

  open (node: BrokerNode): void { this.#memory.open(node) }
  leave (stream: Stream): void { this.#memory.leave(stream) }
  close (): void { this.#memory.close() }

  join (stream: Stream, since?: Position): Promise<Joined> {
    return this.#put('join', stream, () => this.#memory.join(stream, since))
  }

  publish (stream: Stream, body: string, options: PublishOptions): Promise<Published> {
    return this.#put('publish', stream, () => this.#memory.publish(stream, body, options))
  }

  currentJob (stream: Stream): Promise<string | undefined> {
    return this.#put('currentJob', stream, () => this.#memory.currentJob(stream))
  }

  control (message: ControlMessage): Promise<ControlResult> {
    return this.#put('control', undefined, () => this.#memory.control(message))
  }

  /** What is waited for, as `join session:s`. */
  get waiting (): string[] {
    return this.calls.map(({ what, stream }) => stream === undefined ? what : `${what} ${stream}`)
  }

  /** Answers the oldest waiting call of this kind; without one, all that wait, those that come with the answers not included. */
  answer (which?: string): void {
    for (const call of this.#take(which)) call.answer()
  }

  fail (which?: string, error = new Error('the broker is away')): void {
    for (const call of this.#take(which)) call.fail(error)
  }

  #take (which: string | undefined): Call[] {
    if (which === undefined) return this.calls.splice(0)
    const at = this.waiting.indexOf(which)
    if (at === -1) throw new Error(`nobody waits for ${which}, only for: ${this.waiting.join(', ')}`)
    return this.calls.splice(at, 1)
  }

  #put<T> (what: Call['what'], stream: Stream | undefined, work: () => MaybePromise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      this.calls.push({ what, stream, answer: () => { resolve(work()) }, fail: reject })
    })
  }
}

/** Lets every promise that is settled be heard. */
export function turn (): Promise<void> {
  return new Promise((resolve) => { setImmediate(resolve) })
}
