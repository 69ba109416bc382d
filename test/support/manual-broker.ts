import type { Answers, Broker, BrokerNode, Joined, JoinOptions, Position, Publication, Published, PublishOptions, Stream } from '../../lib/streams/broker.js'

/** A call that was made of the broker and is not answered yet. */
export interface PendingJoin {
  readonly stream: Stream
  readonly since: Position | undefined
  /** Answers for the point that the stream has reached by now, unless told another one. */
  answer: (joined?: Partial<Joined>) => Promise<void>
  fail: (error: Error) => Promise<void>
}

/** Lets everything go on that waits for promises already settled. */
export function settled (): Promise<void> {
  return new Promise((resolve) => { setImmediate(resolve) })
}

/**
 * A broker on another machine, whose answers and deliveries come when the test says so. `publish` takes a message in,
 * `deliver` brings it to the node.
 */
export class ManualBroker implements Broker {
  readonly joins: PendingJoin[] = []
  readonly left: Stream[] = []
  readonly #heads = new Map<Stream, { seq: number, revision: number }>()
  #node: BrokerNode | undefined

  open (node: BrokerNode): void { this.#node = node }

  /** Takes a message in and hands it to the node at once; `recipients` is what the node answered. */
  publish (stream: Stream, body: string, options: PublishOptions): Published {
    const publication = this.take(stream, body, options)
    return { epoch: 'far.0', seq: this.#head(stream).seq, recipients: this.deliver(stream, publication) }
  }

  /** Takes a message in that the node does not have yet. */
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
