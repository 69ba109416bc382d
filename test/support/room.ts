import type { Broker, PublishOptions, Stream } from '../../lib/streams/broker.js'
import { Subscriber } from '../../lib/delivery/channel.js'
import type { DeflateSettings } from '../../lib/delivery/frame.js'
import { Hub } from '../../lib/delivery/hub.js'
import { Outbox } from '../../lib/delivery/outbox.js'
import { OutboxPool } from '../../lib/delivery/outbox-pool.js'
import type { MaybePromise } from '../../lib/util/maybe-promise.js'
import { FakeClock } from './fake-clock.js'
import { FakeTransport } from './fake-transport.js'
import { idleNode } from './idle-node.js'
import { brokerSettings, memoryBroker, type TestMemoryBroker } from './memory-broker.js'

/** A connection in the room. */
export interface Guest {
  readonly subscriber: Subscriber
  readonly transport: FakeTransport
  /** How often its outbox overflowed. */
  readonly overflows: number
}

export interface RoomOptions<B extends Broker> {
  broker?: B
  deflate?: DeflateSettings
  maxOutboxBytes?: number
  maxTotalBytes?: number
}

/**
 * A hub with a broker and connections, but without a server. It uses a fake clock, and `clock.tick()` ends a tick. Greetings
 * contain the names of the sessions, so that the expected messages of a guest are easy to read.
 */
export class Room<B extends Broker = TestMemoryBroker> {
  readonly clock = new FakeClock()
  readonly broker: B
  readonly hub: Hub
  readonly pool: OutboxPool

  constructor (options: RoomOptions<B> = {}) {
    // If the test passes no broker, B is its default.
    this.broker = options.broker ?? memoryBroker(this.clock) as unknown as B
    this.hub = new Hub({ broker: this.broker, clock: this.clock, deflate: options.deflate })
    void this.broker.open(idleNode({
      deliver: (stream, publication) => this.hub.deliver(stream, publication),
      restarted: (stream) => { void this.restart(stream) }
    }), brokerSettings(this.clock))
    this.pool = new OutboxPool({
      maxOutboxBytes: options.maxOutboxBytes ?? 1024 * 1024,
      maxTotalBytes: options.maxTotalBytes ?? 64 * 1024 * 1024,
      clock: this.clock
    })
  }

  /** Adds a connection. `onOverflow` is the reaction of the server to a slow consumer. */
  enter (onOverflow: (guest: Guest) => void = () => undefined): Guest {
    const transport = new FakeTransport()
    let overflows = 0
    const outbox = new Outbox(transport, this.pool, () => {
      overflows++
      onOverflow(guest)
    })
    const guest = { subscriber: new Subscriber(outbox), transport, get overflows () { return overflows } }
    return guest
  }

  /** Subscribes a guest to sessions. The greeting contains their names and positions: `hello a:0 b:0`. */
  join ({ subscriber }: Guest, ...names: string[]): MaybePromise<void> {
    return this.hub.join(subscriber, names.map((name) => ({ stream: streamOf(name) })), (joined) => {
      return `hello ${[...joined].map(([stream, { seq }]) => `${stream.slice('session:'.length)}:${seq}`).join(' ')}`
    })
  }

  /** Joins a stream again for all guests. The greeting contains its name and position: `again a:0`. */
  restart (stream: Stream): MaybePromise<void> {
    return this.hub.restart(stream, ({ seq, recovered, reason }) => `again ${stream.slice('session:'.length)}:${seq} ${recovered} ${reason}`)
  }

  leave ({ subscriber }: Guest, name: string): void {
    this.hub.leave(subscriber, streamOf(name))
  }

  /** Publishes a message to a session. It is not numbered, so that it arrives unchanged. */
  publish (name: string, body: string, options: Partial<PublishOptions> = {}): number {
    const published = this.broker.publish(streamOf(name), body, { durable: false, ...options })
    return 'recipients' in published ? published.recipients : NaN
  }

  tell ({ subscriber }: Guest, text: string): void {
    this.hub.send(subscriber, text)
  }
}

export function streamOf (name: string): Stream {
  return `session:${name}`
}
