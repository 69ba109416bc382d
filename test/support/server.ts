import type { OnCancel } from '../../lib/connections/cancellations.js'
import type { Connection } from '../../lib/connections/connection.js'
import type { Admitted, Handshake } from '../../lib/connections/handshakes.js'
import type { Identity } from '../../lib/connections/identity.js'
import type { OnMessage } from '../../lib/connections/inbound.js'
import type { Authorize } from '../../lib/connections/subscriptions.js'
import { resolveOptions, type AiCanvasWsOptions } from '../../lib/options.js'
import { createServer as createParts, type Server } from '../../lib/server.js'
import type { Broker } from '../../lib/streams/broker.js'
import { CheckedBroker } from '../../lib/streams/checked-broker.js'
import { MemoryBroker } from '../../lib/streams/memory-broker.js'
import { safeLogger } from '../../lib/util/logger.js'
import { FakeClock } from './fake-clock.js'
import { FakeTransport } from './fake-transport.js'
import { HandBroker } from './hand-broker.js'
import { fakeLogger } from './log.js'
import { memoryBroker, type Bounds, type TestMemoryBroker } from './memory-broker.js'
import type { Message } from './ws-client.js'

/** Options of the plugin, and further settings of a test. */
export interface Setup extends Pick<AiCanvasWsOptions, 'jobs' | 'limits' | 'delivery' | 'allowCancel' | 'heartbeatIntervalMs' | 'closeTimeoutMs'> {
  clock?: FakeClock
  authorize?: Authorize
  onMessage?: OnMessage
  onCancel?: OnCancel
  /** Bounds of the memory broker. */
  bounds?: Bounds
  maxPayload?: number
}

/** The client that `connect` admits: its user, when its access expires, and its subscriptions. */
export interface Newcomer extends Partial<Omit<Admitted, 'identity'>> {
  userId?: string
  expiresAt?: Identity['expiresAt']
  transport?: FakeTransport
}

/**
 * The server without Fastify, ws, real time or a network. It consists of the parts that `createServer` of lib/server.ts
 * returns, with a fake clock, fake transports, and the memory broker or one that the test passes.
 */
export class TestServer<B extends Broker = TestMemoryBroker> {
  readonly clock: FakeClock
  readonly log = fakeLogger()
  readonly broker: B
  readonly counters: Server['counters']
  readonly hub: Server['hub']
  readonly pool: Server['pool']
  readonly heartbeat: Server['heartbeat']
  readonly connections: Server['connections']
  readonly replies: Server['replies']
  readonly subscriptions: Server['subscriptions']
  readonly handshakes: Server['handshakes']
  readonly cancellations: Server['cancellations']
  readonly inbound: Server['inbound']
  readonly notifier: Server['notifier']
  /** The node that was passed to the broker. */
  readonly node: Server['node']
  readonly manager: Server['manager']

  constructor (makeBroker: (clock: FakeClock) => B, { clock = new FakeClock(), bounds: _bounds, maxPayload, ...given }: Setup = {}) {
    const options = resolveOptions(given)
    const log = safeLogger(this.log)
    this.clock = clock
    this.broker = makeBroker(clock)
    const broker = this.broker instanceof MemoryBroker
      ? this.broker
      : new CheckedBroker(this.broker, (err) => { log.error({ err }, 'the broker violated its contract') })
    const server = createParts({ options, clock, log, broker, maxPayload: maxPayload ?? options.websocket.maxPayload })
    this.counters = server.counters
    this.hub = server.hub
    this.pool = server.pool
    this.heartbeat = server.heartbeat
    this.connections = server.connections
    this.replies = server.replies
    this.subscriptions = server.subscriptions
    this.handshakes = server.handshakes
    this.cancellations = server.cancellations
    this.inbound = server.inbound
    this.notifier = server.notifier
    this.node = server.node
    this.manager = server.manager
    void broker.open(this.node, server.brokerSettings)
  }

  /** Begins the handshake of a socket that was upgraded and is not authenticated yet. */
  arrive (transport = new FakeTransport()): Handshake & { transport: FakeTransport } {
    return this.handshakes.begin(transport) as Handshake & { transport: FakeTransport }
  }

  /** Returns the argument with which `accept` admits a newcomer. */
  admitted ({ userId, expiresAt, sessionId, permission = 'allowed', isReconnect = false, request, userSince }: Newcomer = {}): Admitted {
    const identity: Identity = { ...(userId !== undefined && { userId }), ...(expiresAt !== undefined && { expiresAt }) }
    return { identity, sessionId, permission, isReconnect, request: request ?? { since: undefined, have: new Map() }, userSince }
  }

  /** Connects a newcomer. Its `connection` message is already taken. */
  async connect (newcomer: Newcomer = {}): Promise<Peer> {
    const { transport = new FakeTransport() } = newcomer
    const accepted = this.handshakes.accept(this.arrive(transport), this.admitted(newcomer))
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

/** Creates a server whose broker returns its results at once. */
export function createServer (setup?: Setup): TestServer {
  return new TestServer((clock) => memoryBroker(clock, setup?.bounds), setup)
}

/** Creates a server whose broker keeps calls pending until the test answers them. */
export function createFarServer (setup?: Setup): TestServer<HandBroker> {
  return new TestServer((clock) => new HandBroker(clock, setup?.bounds), setup)
}

/** The client's end of an admitted connection. */
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

  /** Sends a message. An object is sent as JSON, text and bytes unchanged. */
  send (message: object | string, isBinary = false): void {
    const data = Buffer.isBuffer(message) ? message : Buffer.from(typeof message === 'string' ? message : JSON.stringify(message))
    this.#server.inbound.receive(this.connection, data, isBinary)
  }

  /** Ends this turn of the event loop, and returns the received messages that were not taken yet. */
  take (): Message[] {
    this.#server.clock.tick()
    const texts = this.transport.texts.slice(this.#taken)
    this.#taken += texts.length
    return texts.map((text) => JSON.parse(text) as Message)
  }

  /** Sends a message and returns the messages that were not taken yet, the reply last. */
  ask (message: object | string, isBinary?: boolean): Message[] {
    this.send(message, isBinary)
    return this.take()
  }

  /** Answers a ping, by default the latest one. */
  pong (payload = this.transport.pings.at(-1)!): void {
    this.#server.heartbeat.pong(this.connection, payload)
  }

  /** Closes the socket of the client. */
  leave (code = 1000): void {
    this.transport.state = 3
    this.#server.connections.remove(this.connection, code)
  }
}
