import type { Broker, BrokerNode } from '../../lib/broker/broker.js'
import { CheckedBroker } from '../../lib/broker/checked.js'
import { MemoryBroker } from '../../lib/broker/memory.js'
import { Hub } from '../../lib/delivery/hub.js'
import { OutboxPool } from '../../lib/delivery/outbox-pool.js'
import { defaults, type Delivery, type Jobs, type Limits } from '../../lib/options.js'
import { Arrivals, type Admitted, type Arrival } from '../../lib/server/arrivals.js'
import { replayBudgets, subscribeBudgets } from '../../lib/server/budgets.js'
import { Cancellations, type OnCancel } from '../../lib/server/cancellations.js'
import { clientView } from '../../lib/server/client.js'
import type { Connection } from '../../lib/server/connection.js'
import { Connections } from '../../lib/server/connections.js'
import { Counters } from '../../lib/server/counters.js'
import { Expiry } from '../../lib/server/expiry.js'
import { Follows, type Authorize } from '../../lib/server/follows.js'
import { Heartbeat } from '../../lib/server/heartbeat.js'
import type { Identity } from '../../lib/server/identity.js'
import { Inbound, type OnMessage } from '../../lib/server/inbound.js'
import { safeLogger } from '../../lib/server/logger.js'
import { WebSocketManager } from '../../lib/server/manager.js'
import { Notifier } from '../../lib/server/notifier.js'
import { connectionLimits, Replies } from '../../lib/server/replies.js'
import { Watchdog } from '../../lib/server/watchdog.js'
import { FakeClock } from './fake-clock.js'
import { FakeTransport } from './fake-transport.js'
import { HandBroker } from './hand-broker.js'
import { fakeLogger } from './log.js'
import { memoryBroker, type Bounds } from './memory-broker.js'
import type { Message } from './ws-client.js'

export interface Setup {
  clock?: FakeClock
  authorize?: Authorize
  onMessage?: OnMessage
  /** Whether clients may cancel. */
  allowCancel?: boolean
  onCancel?: OnCancel
  /** Bounds of what the memory broker keeps. */
  bounds?: Bounds
  jobs?: Partial<Jobs>
  limits?: Partial<Limits>
  maxPayload?: number
  delivery?: Partial<Delivery>
  heartbeatIntervalMs?: number
  closeTimeoutMs?: number
}

/** Whom `connect` lets in: as which user, until when, following what. */
export interface Newcomer extends Partial<Omit<Admitted, 'identity'>> {
  userId?: string
  expiresAt?: Identity['expiresAt']
  transport?: FakeTransport
}

/**
 * The server without Fastify, ws, time or a network: its real parts, joined as `plugin.ts` joins them, over a clock that
 * stands still, transports that note what they are given, and the memory broker or one of the test's.
 */
export class TestServer<B extends Broker = MemoryBroker> {
  readonly clock: FakeClock
  readonly log = fakeLogger()
  readonly counters = new Counters()
  readonly broker: B
  readonly hub: Hub
  readonly pool: OutboxPool
  readonly heartbeat: Heartbeat
  readonly connections: Connections
  readonly replies: Replies
  readonly follows: Follows
  readonly arrivals: Arrivals
  readonly cancellations: Cancellations
  readonly inbound: Inbound
  readonly watchdog: Watchdog
  readonly notifier: Notifier
  /** What the broker was given to deliver to. */
  readonly node: BrokerNode
  readonly manager: WebSocketManager

  constructor (makeBroker: (clock: FakeClock) => B, setup: Setup = {}) {
    const { clock = new FakeClock(), authorize = true, onMessage, heartbeatIntervalMs: intervalMs = defaults.heartbeatIntervalMs } = setup
    const { closeTimeoutMs = defaults.closeTimeoutMs } = setup
    const { counters } = this
    const log = safeLogger(this.log)
    const limits: Limits = { ...defaults.limits, ...setup.limits }
    const { maxOutboxBytes, maxTotalOutboxBytes: maxTotalBytes, stallTimeoutMs } = { ...defaults.delivery, ...setup.delivery }
    const close: Connections['close'] = (connection, name) => { this.connections.close(connection, name) }

    this.clock = clock
    this.broker = makeBroker(clock)
    const broker = this.broker instanceof MemoryBroker
      ? this.broker
      : new CheckedBroker(this.broker, (err) => { log.error({ err }, 'the broker broke its contract') })
    const hub = this.hub = new Hub({ broker, clock })
    const pool = this.pool = new OutboxPool({ clock, maxOutboxBytes, maxTotalBytes })
    this.heartbeat = new Heartbeat({ clock, counters, log, intervalMs, stallTimeoutMs })
    const expiry = new Expiry({ clock, close })
    const budgets = { subscribeBudgets: subscribeBudgets(clock, limits), replayBudgets: replayBudgets(clock, limits) }
    const connections = this.connections = new Connections({
      hub, clock, counters, log, closeTimeoutMs, watchers: [this.heartbeat, expiry, ...Object.values(budgets)]
    })
    const clientLimits = connectionLimits(limits, setup.maxPayload ?? defaults.maxPayload)
    const replies = this.replies = new Replies({ hub, clock, counters, limits: clientLimits })
    const follows = this.follows = new Follows({ ...limits, ...budgets, hub, clock, replies, connections, log, authorize })
    this.arrivals = new Arrivals({
      ...budgets, hub, pool, clock, connections, follows, replies, counters, log, closeTimeoutMs,
      rateLimit: limits,
      connectionsPerUser: limits.connectionsPerUser,
      maxConnections: limits.connections
    })
    const cancellations = this.cancellations = new Cancellations({
      ...limits, clock, broker, follows, replies, log, allowed: setup.allowCancel === true, onCancel: setup.onCancel
    })
    this.inbound = new Inbound({
      clock, connections, follows, cancellations, replies, counters, log, onMessage,
      limits: clientLimits,
      clientOf: clientView({ hub, connections, clock })
    })
    const watchdog = this.watchdog = new Watchdog({
      clock,
      stallAfterMs: setup.jobs?.stallAfterMs ?? defaults.jobs.stallAfterMs,
      onStall: (job) => this.notifier.stall(job)
    })
    const notifier = this.notifier = new Notifier({ broker, clock, counters, watchdog, cancellations, log, closeTimeoutMs })
    this.manager = new WebSocketManager({
      broker, clock, notifier, cancellations, connections, pool, counters, maxTextUnits: setup.jobs?.maxTextUnits ?? defaults.jobs.maxTextUnits
    })
    this.node = {
      deliver: (stream, publication) => hub.deliver(stream, publication),
      control: (message) => {
        if (message.type === 'cancel') return cancellations.carryOut(message.sessionId, message.jobId)
        const { userId, sessionId } = message
        this.arrivals.revoke(userId, sessionId)
        for (const connection of connections.values()) {
          if (connection.userId !== userId) continue
          if (sessionId === undefined) connections.close(connection, 'revoked')
          else follows.revoke(connection, sessionId)
        }
        return true
      }
    }
    void broker.open(this.node)
  }

  /** A socket that is upgraded, and of which nothing is known yet. */
  arrive (transport = new FakeTransport()): Arrival & { transport: FakeTransport } {
    return this.arrivals.begin(transport) as Arrival & { transport: FakeTransport }
  }

  /** What `accept` is given for a newcomer. */
  admitted ({ userId, expiresAt, sessionId, permission = 'allowed', returns = false, request, userSince }: Newcomer = {}): Admitted {
    const identity: Identity = { ...(userId !== undefined && { userId }), ...(expiresAt !== undefined && { expiresAt }) }
    return { identity, sessionId, permission, returns, request: request ?? { since: undefined, have: new Map() }, userSince }
  }

  /** Brings a newcomer all the way in. Its `connection` message is taken from what it received. */
  async connect (newcomer: Newcomer = {}): Promise<Peer> {
    const { transport = new FakeTransport() } = newcomer
    const accepted = this.arrivals.accept(this.arrive(transport), this.admitted(newcomer))
    if (this.broker instanceof HandBroker) this.broker.answer()
    const connection = await accepted
    if (typeof connection === 'string') throw new Error(`not let in: ${connection}`)
    const peer = new Peer(this, connection, transport)
    peer.take()
    return peer
  }

  /** The messages of all log entries so far, with their level. */
  get logged (): string[] {
    return this.log.entries.map(({ level, message }) => `${level}: ${message}`)
  }
}

/** A server whose broker answers at once. */
export function createServer (setup?: Setup): TestServer {
  return new TestServer((clock) => memoryBroker(clock, setup?.bounds), setup)
}

/** A server whose broker answers when the test says so. */
export function createFarServer (setup?: Setup): TestServer<HandBroker> {
  return new TestServer((clock) => new HandBroker(clock, setup?.bounds), setup)
}

/** The other end of an admitted connection. */
export class Peer {
  readonly connection: Connection
  readonly transport: FakeTransport
  readonly #server: TestServer<Broker>
  #taken = 0

  constructor (server: TestServer<Broker>, connection: Connection, transport: FakeTransport) {
    this.#server = server
    this.connection = connection
    this.transport = transport
  }

  /** Sends a message: an object as JSON, text and bytes as they are. */
  send (message: object | string, isBinary = false): void {
    const data = Buffer.isBuffer(message) ? message : Buffer.from(typeof message === 'string' ? message : JSON.stringify(message))
    this.#server.inbound.receive(this.connection, data, isBinary)
  }

  /** What it received and was not taken yet, after this turn of the event loop. */
  take (): Message[] {
    this.#server.clock.tick()
    const texts = this.transport.texts.slice(this.#taken)
    this.#taken += texts.length
    return texts.map((text) => JSON.parse(text) as Message)
  }

  /** Sends a message and takes what it received since the last time, the answer last. */
  ask (message: object | string, isBinary?: boolean): Message[] {
    this.send(message, isBinary)
    return this.take()
  }

  /** Answers a ping, the latest unless told. */
  pong (payload = this.transport.pings.at(-1)!): void {
    this.#server.heartbeat.pong(this.connection, payload)
  }

  /** Its socket has closed. */
  leave (code = 1000): void {
    this.transport.state = 3
    this.#server.connections.remove(this.connection, code)
  }
}
