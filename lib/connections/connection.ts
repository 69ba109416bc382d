import { randomUUID } from 'node:crypto'
import type { Subscriber } from '../delivery/channel.js'
import type { Have, Since } from '../protocol/positions.js'
import type { Identity } from './identity.js'
import type { RateLimit } from './rate-limit.js'

/** What a client asks for when it follows a session: where it was, and how much it holds of jobs' texts. */
export interface SubscribeRequest {
  readonly since: Since | undefined
  readonly have: Have
}

/** A session that a connection follows, or is on its way to. */
export interface Subscription {
  /** Whether permission, or the broker's answer, is awaited. */
  asking: boolean
  /** Whether its messages are delivered. */
  joined: boolean
  /** The newest of the requests that came while one was being decided, and how many it stands for, itself included. */
  waiting?: { readonly request: SubscribeRequest, readonly count: number } | undefined
}

/** `client_<milliseconds>_<random>`. The random part has 122 bits, so knowing one id helps nobody to another. */
export function clientId (now: number): string {
  return `client_${now}_${randomUUID().replaceAll('-', '')}`
}

/** One admitted WebSocket: who is there, what it follows, whether it lives. */
export class Connection {
  readonly id: string
  readonly identity: Identity
  readonly subscriber: Subscriber
  readonly rateLimit: RateLimit
  /** In the order in which they were asked for; a session asked for again becomes the latest. */
  readonly subscriptions = new Map<string, Subscription>()
  /** Whether something was heard of the peer since the last ping. */
  isAlive = true
  /** When the last ping left, on the monotonic clock, if nothing was queued before it and it is unanswered. */
  pingedAt: number | undefined
  pingPayload: Buffer | undefined
  /** Those with which it is pinged, itself among them: the heartbeat's own note. */
  pingedWith: Set<Connection> | undefined

  constructor (options: { id: string, identity: Identity, subscriber: Subscriber, rateLimit: RateLimit }) {
    this.id = options.id
    this.identity = options.identity
    this.subscriber = options.subscriber
    this.rateLimit = options.rateLimit
  }

  get userId (): string | undefined {
    return this.identity.userId
  }

  /** The sessions that it follows, the latest last. */
  get sessionIds (): string[] {
    return [...this.subscriptions].filter(([, { joined }]) => joined).map(([sessionId]) => sessionId)
  }
}
