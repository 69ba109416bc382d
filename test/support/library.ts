import type { Joined, Position, Publication, PublishOptions, Stream } from '../../lib/streams/broker.js'
import { FakeClock } from './fake-clock.js'
import { idleNode } from './idle-node.js'
import { memoryBroker, type Bounds, type TestMemoryBroker } from './memory-broker.js'

/** A memory broker over a clock that stands still, and short ways to ask what it has kept. */
export class Library {
  readonly clock = new FakeClock()
  readonly deliveries: Array<{ stream: Stream, publication: Publication }> = []
  readonly broker: TestMemoryBroker
  #published = 0

  constructor (bounds?: Bounds) {
    this.broker = memoryBroker(this.clock, bounds)
    this.broker.open(idleNode({ deliver: (stream, publication) => this.deliveries.push({ stream, publication }) }))
  }

  /** Publishes to a session, a message of so many bytes unless its text is given. */
  publish (name: string, options: PublishOptions = { durable: true }, body: string | number = 20): Position {
    const text = typeof body === 'string' ? body : `{"n":${this.#published++}`.padEnd(body - 1) + '}'
    const { epoch, seq } = this.broker.publish(`session:${name}`, text, options)
    return { epoch, seq }
  }

  follow (name: string): Position {
    const { epoch, seq } = this.broker.join(`session:${name}`)
    return { epoch, seq }
  }

  /** What somebody would be told who comes, or comes back. */
  ask (name: string, since?: Position): Joined {
    return this.broker.join(`session:${name}`, { since })
  }
}
