import type { Joined, Position, Publication, PublishOptions, Stream } from '../../lib/streams/broker.js'
import { FakeClock } from './fake-clock.js'
import { idleNode } from './idle-node.js'
import { memoryBroker, type Bounds, type TestMemoryBroker } from './memory-broker.js'

/** A memory broker with a fake clock, and short methods that publish messages and query what the broker has kept. */
export class Library {
  readonly clock = new FakeClock()
  readonly deliveries: Array<{ stream: Stream, publication: Publication }> = []
  readonly broker: TestMemoryBroker
  #published = 0

  constructor (bounds?: Bounds) {
    this.broker = memoryBroker(this.clock, bounds)
    this.broker.open(idleNode({ deliver: (stream, publication) => this.deliveries.push({ stream, publication }) }))
  }

  /** Publishes a message to a session. `body` is its text or its number of bytes. */
  publish (name: string, options: PublishOptions = { durable: true }, body: string | number = 20): Position {
    const text = typeof body === 'string' ? body : `{"n":${this.#published++}`.padEnd(body - 1) + '}'
    const { epoch, seq } = this.broker.publish(`session:${name}`, text, options)
    return { epoch, seq }
  }

  follow (name: string): Position {
    const { epoch, seq } = this.broker.join(`session:${name}`)
    return { epoch, seq }
  }

  /** Returns what a subscriber would receive when it subscribes or reconnects. */
  ask (name: string, since?: Position): Joined {
    return this.broker.join(`session:${name}`, { since })
  }
}
