import { randomUUID } from 'node:crypto'
import type { Subscriber } from '../delivery/channel.js'
import type { Have, Since } from '../protocol/positions.js'
import type { Identity } from './identity.js'
import type { RateLimit } from './rate-limit.js'

/** Recovery data in a `subscribe`: the client's last position, and how much it has of the texts of jobs. */
export interface SubscribeRequest {
  readonly since: Since | undefined
  readonly have: Have
}

/** State of a connection's subscription to one session, pending or joined. */
export interface Subscription {
  /** Whether a request is pending: it waits for `authorize` or for the broker. */
  pending: boolean
  /** Whether the session's messages are delivered to the client. */
  joined: boolean
  /** Newest request that arrived while another one was pending. `count` is the number of requests that it stands for. */
  queued?: { readonly request: SubscribeRequest, readonly count: number } | undefined
}

/** Returns a new id, `client_<milliseconds>_<random>`. The random part has 122 bits, so that ids can't be guessed. */
export function clientId (now: number): string {
  return `client_${now}_${randomUUID().replaceAll('-', '')}`
}

/** An admitted WebSocket, with its identity, its subscriptions and its liveness. */
export class Connection {
  readonly id: string
  readonly identity: Identity
  readonly subscriber: Subscriber
  readonly rateLimit: RateLimit
  /** By session, in the order of the requests. A repeated request moves its session to the end. */
  readonly subscriptions = new Map<string, Subscription>()
  /** Whether the client has sent anything since the last ping. */
  isAlive = true
  /** Monotonic time of the last ping. Undefined once it is answered, or if other messages were queued before it. */
  pingedAt: number | undefined
  pingPayload: Buffer | undefined
  /** The connection's ping group, itself included. Set by the heartbeat. */
  pingGroup: Set<Connection> | undefined

  constructor (options: { id: string, identity: Identity, subscriber: Subscriber, rateLimit: RateLimit }) {
    this.id = options.id
    this.identity = options.identity
    this.subscriber = options.subscriber
    this.rateLimit = options.rateLimit
  }

  get userId (): string | undefined {
    return this.identity.userId
  }

  /** Sessions that it is subscribed to, the latest last. */
  get sessionIds (): string[] {
    return [...this.subscriptions].filter(([, { joined }]) => joined).map(([sessionId]) => sessionId)
  }
}
