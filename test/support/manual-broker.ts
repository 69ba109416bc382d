import type { Answers, Broker, BrokerNode, Joined, JoinOptions, Position, Publication, Published, PublishOptions, Stream } from '../../lib/streams/broker.js'

/** A call of `join` that the test has not answered yet. */
export interface PendingJoin {
  readonly stream: Stream
  readonly since: Position | undefined
  /** Resolves the call with the present position of the stream, unless `joined` contains another one. */
  answer: (joined?: Partial<Joined>) => Promise<void>
  fail: (error: Error) => Promise<void>
}

/** Resolves after the handlers of all settled promises have run. */
export function settled (): Promise<void> {
  return new Promise((resolve) => { setImmediate(resolve) })
}

/**
 * A fake of a remote broker. The test determines when it answers and delivers. `take` accepts a message, `deliver` delivers it
 * to the node, and `publish` does both.
 */
export class ManualBroker implements Broker {
  readonly joins: PendingJoin[] = []
  readonly left: Stream[] = []
  readonly #heads = new Map<Stream, { seq: number, revision: number }>()
  #node: BrokerNode | undefined

  open (node: BrokerNode): void { this.#node = node }

  /** Accepts a message and delivers it to the node at once. `recipients` is the number that the node returned. */
  publish (stream: Stream, body: string, options: PublishOptions): Published {
    const publication = this.take(stream, body, options)
    return { epoch: 'far.0', seq: this.#head(stream).seq, recipients: this.deliver(stream, publication) }
  }

  /** Accepts a message without delivering it to the node. */
  take (stream: Stream, body: string, options: PublishOptions): Publication {
    const head = this.#head(stream)
    head.revision++
    if (options.durable) head.seq++
    return { ...options, body, revision: head.revision, ...(options.durable && { seq: head.seq }) }
  }

  deliver (stream: Stream, publication: Publication): number {
    return this.#node!.deliver(stream, publication)
  }

  join (stream: Stream, { since }: JoinOptions = {}): Promise<Joined> {
    return new Promise((resolve, reject) => {
      this.joins.push({
        stream,
        since,
        answer: (joined = {}) => {
          const { seq, revision } = this.#head(stream)
          resolve({ epoch: 'far.0', seq, revision, recovered: false, reason: 'new', replay: [], ...joined })
          return settled()
        },
        fail: (error) => {
          reject(error)
          return settled()
        }
      })
    })
  }

  leave (stream: Stream): void { this.left.push(stream) }

  /** No test of delivery uses jobs or revocations. */
  currentJob (): undefined { return undefined }
  adopt (): boolean { return false }
  release (): boolean { return false }
  revoke (): void { /* There is nothing to do. */ }
  cancel (): boolean { return false }
  ask (): Answers { return { answers: [], missing: [] } }

  close (): void { this.#node = undefined }

  #head (stream: Stream): { seq: number, revision: number } {
    const head = this.#heads.get(stream) ?? { seq: 0, revision: 0 }
    this.#heads.set(stream, head)
    return head
  }
}
