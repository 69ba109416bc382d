import type { Joined, Position, PublishOptions } from '../../lib/streams/broker.js'
import type { MemoryBroker } from '../../lib/streams/memory-broker.js'
import { FakeNode } from './broker-node.js'
import { FakeClock } from './fake-clock.js'
import { memoryBroker, type Bounds } from './memory-broker.js'

/** A memory broker over a clock that stands still, and short ways to ask what it has kept. */
export class Library {
  readonly clock = new FakeClock()
  readonly node = new FakeNode()
  readonly broker: MemoryBroker
  #published = 0

  constructor (bounds?: Bounds) {
    this.broker = memoryBroker(this.clock, bounds)
    this.broker.open(this.node)
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
    return this.broker.join(`session:${name}`, since)
  }
}
