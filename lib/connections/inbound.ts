import { TypeCompiler } from '@sinclair/typebox/compiler'
import { parse } from 'secure-json-parse'
import type { Clock } from '../util/clock.js'
import { isPromise, type MaybePromise } from '../util/maybe-promise.js'
import { isId } from '../protocol/ids.js'
import { Cancel, Ping, Subscribe, Unsubscribe, type ClientMessage, type ConnectionLimits } from '../protocol/messages.js'
import { parseHave, parseSince } from '../protocol/positions.js'
import type { Cancellations } from './cancellations.js'
import type { Client } from './client-view.js'
import type { Connection } from './connection.js'
import type { ConnectionRegistry } from './connection-registry.js'
import type { Counters } from './counters.js'
import type { Subscriptions } from './subscriptions.js'
import type { Logger } from '../util/logger.js'
import type { About, Replies } from './replies.js'

/** A message of a type that the protocol does not know, as the client sent it: checked for nothing but being an object with a string `type`. */
export interface UnknownMessage {
  type: string
  [field: string]: unknown
}

export type OnMessage = (message: UnknownMessage, client: Client) => MaybePromise<unknown>

export interface InboundOptions {
  readonly clock: Clock
  readonly connections: ConnectionRegistry
  readonly subscriptions: Subscriptions
  readonly cancellations: Cancellations
  readonly replies: Replies
  readonly counters: Counters
  readonly log: Logger
  readonly limits: ConnectionLimits
  readonly onMessage: OnMessage | undefined
  readonly clientOf: (connection: Connection) => Client
}

const checks = {
  ping: TypeCompiler.Compile(Ping),
  subscribe: TypeCompiler.Compile(Subscribe),
  unsubscribe: TypeCompiler.Compile(Unsubscribe),
  cancel: TypeCompiler.Compile(Cancel)
} as const satisfies Record<ClientMessage['type'], unknown>

const ID_RULE = 'a string of 1 to 256 characters without control characters'

/** What `subscribe` says of one session. */
type Entry = NonNullable<Subscribe['sessions']>[number]

/** The messages that may be about many sessions: where an entry's id is, and what the entries look like. */
const batches = {
  subscribe: { idOf: (entry: unknown) => (entry as Partial<Entry> | null)?.sessionId, example: '[{ "sessionId": "a" }, { "sessionId": "b" }]' },
  unsubscribe: { idOf: (entry: unknown) => entry, example: '["a", "b"]' }
} as const

/** What a client may say, and what it is answered when it says something else. */
export class Inbound {
  readonly #options: InboundOptions

  constructor (options: InboundOptions) {
    this.#options = options
  }

  /** Takes one message. Never throws: whatever a client sends, and whatever the app's hook does with it. */
  receive (connection: Connection, data: Buffer, isBinary: boolean): void {
    const { connections, counters, replies } = this.#options
    if (!connections.mayAct(connection)) return
    counters.received++
    if (!this.#within(connection)) return
    if (isBinary) {
      replies.error(connection, 'binary_not_supported', 'send text messages that hold a JSON object')
      return
    }
    let message: unknown
    try {
      message = parse(data.toString(), undefined, { protoAction: 'error', constructorAction: 'error' })
    } catch (error) {
      replies.error(connection, 'invalid_json', `not acceptable JSON: ${(error as Error).message}`)
      return
    }
    if (!isMessage(message)) {
      replies.error(connection, 'invalid_message', 'a message is a JSON object with a string "type"')
      return
    }
    this.#dispatch(connection, message)
  }

  /** Takes a control frame that the client need not have sent: it counts as a message, because a flood of them is a flood. */
  unasked (connection: Connection): void {
    if (this.#options.connections.mayAct(connection)) this.#within(connection)
  }

  /** Whether the client keeps to the rate. One that does not is told, and closed. */
  #within (connection: Connection): boolean {
    const { connections, clock, replies } = this.#options
    connection.isAlive = true
    if (connection.rateLimit.take(clock.monotonic())) return true
    replies.error(connection, 'rate_limited', 'too many messages: slow down, and come back later')
    connections.close(connection, 'rateLimited')
    return false
  }

  #dispatch (connection: Connection, message: UnknownMessage): void {
    const { replies, cancellations } = this.#options
    if (message.sessions !== undefined && isBatch(message.type)) {
      this.#dispatchBatch(connection, message, message.type)
    } else if (isOf('ping', message)) {
      replies.pong(connection)
    } else if (isOf('subscribe', message)) {
      this.#subscribe(connection, message)
    } else if (isOf('unsubscribe', message)) {
      this.#unsubscribe(connection, message)
    } else if (isOf('cancel', message)) {
      cancellations.request(connection, message.sessionId, message.jobId)
    } else if (isAboutSession(message.type)) {
      replies.error(connection, 'invalid_session_id',
        `"${message.type}" needs a "sessionId"${message.type === 'cancel' ? ', and may have a "jobId"' : ''}: ${ID_RULE}`,
        aboutInvalid(message.type, message.sessionId))
    } else {
      this.#handToApp(connection, message)
    }
  }

  /** A message about many sessions. Entries with an invalid id are refused, and the others are carried out. */
  #dispatchBatch (connection: Connection, message: UnknownMessage, type: keyof typeof batches): void {
    const { replies, limits: { sessions: most = Infinity } } = this.#options
    const { sessions } = message
    const { idOf, example } = batches[type]
    if (message.sessionId !== undefined) {
      replies.error(connection, 'invalid_message', `"${type}" takes a "sessionId" or "sessions", and not both`, { request: type })
    } else if (!Array.isArray(sessions) || sessions.length === 0 || sessions.length > most) {
      replies.error(connection, 'invalid_message', `"sessions" must be an array such as ${example}, with at least one entry${
        most === Infinity ? '' : ` and at most ${most}`}: send further ones in another message`, { request: type })
    } else {
      for (const [at, entry] of sessions.entries()) {
        if (isId(idOf(entry))) continue
        replies.error(connection, 'invalid_session_id', `entry ${at} of "sessions" has no id that is ${ID_RULE}: such an array is ${example}`,
          aboutInvalid(type, idOf(entry)))
        if (!this.#within(connection)) return
      }
      const valid = { type, sessions: sessions.filter((entry) => isId(idOf(entry))) }
      if (isOf('subscribe', valid)) this.#subscribe(connection, valid)
      else if (isOf('unsubscribe', valid)) this.#unsubscribe(connection, valid)
    }
  }

  #subscribe (connection: Connection, message: Subscribe): void {
    const { subscriptions } = this.#options
    const subscribe = ({ sessionId, since, have }: Entry): boolean => {
      return subscriptions.subscribe(connection, sessionId, { since: parseSince(since), have: parseHave(have) })
    }
    if (message.sessions === undefined) {
      if (subscribe(message)) connection.rateLimit.refundSubscribe()
      return
    }
    // Of two entries for one session the last one counts.
    const entries = new Map(message.sessions.map((entry) => [entry.sessionId, entry]))
    for (const entry of entries.values()) {
      // An answer without a decision costs a message: otherwise one message could ask for hundreds of them, again and again.
      if (!subscribe(entry) && !this.#within(connection)) return
    }
  }

  #unsubscribe (connection: Connection, { sessionId, sessions }: Unsubscribe): void {
    const { subscriptions } = this.#options
    if (sessions === undefined) {
      subscriptions.unsubscribe(connection, sessionId)
      return
    }
    for (const id of new Set(sessions)) {
      const wasFollowed = connection.subscriptions.has(id)
      subscriptions.unsubscribe(connection, id)
      if (!wasFollowed && !this.#within(connection)) return
    }
  }

  /** Types that the protocol does not know are the app's, if it takes any. */
  #handToApp (connection: Connection, message: UnknownMessage): void {
    const { onMessage, clientOf, connections, replies, log } = this.#options
    const failed = (err: unknown): void => {
      log.error({ err, clientId: connection.id, type: message.type.slice(0, 64) }, 'onMessage failed')
      if (connections.mayAct(connection)) replies.error(connection, 'internal_error', 'the app could not handle this message')
    }
    try {
      const taken = onMessage === undefined ? false : onMessage(message, clientOf(connection))
      if (isPromise(taken)) {
        Promise.resolve(taken).then((late) => { if (late === false && connections.mayAct(connection)) this.#unknown(connection, message) }, failed)
      } else if (taken === false) this.#unknown(connection, message)
    } catch (error) {
      failed(error)
    }
  }

  #unknown (connection: Connection, { type }: UnknownMessage): void {
    const shown = JSON.stringify(type.slice(0, 64))
    this.#options.replies.error(connection, 'unknown_type',
      `${shown} is not a type that this server takes: send ping, subscribe, unsubscribe or cancel`)
  }
}

/** An id that is a string is told back, so that the client knows which of its requests was refused. */
function aboutInvalid (request: Exclude<ClientMessage['type'], 'ping'>, id: unknown): About {
  return { request, ...(typeof id === 'string' && { sessionId: id }) }
}

function isBatch (type: string): type is keyof typeof batches {
  return Object.hasOwn(batches, type)
}

/** Every type that the protocol knows but `ping`, which is always well-formed. */
function isAboutSession (type: string): type is Exclude<ClientMessage['type'], 'ping'> {
  return Object.hasOwn(checks, type)
}

function isMessage (value: unknown): value is UnknownMessage {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && typeof (value as UnknownMessage).type === 'string'
}

function isOf<T extends ClientMessage['type']> (type: T, message: UnknownMessage): message is Extract<ClientMessage, { type: T }> {
  return message.type === type && checks[type].Check(message)
}
