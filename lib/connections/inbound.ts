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

/** A client's message of a type that the protocol does not define. Only checked to be an object with a string `type`. */
export interface UnknownMessage {
  type: string
  [field: string]: unknown
}

/** Hook that handles messages of types that the protocol does not define. See the option `onMessage`. */
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

/** The part of a `subscribe` about one session. */
type Entry = NonNullable<Subscribe['sessions']>[number]

/** Messages that may list several sessions: how to find an entry's id, and an example for errors. */
const batches = {
  subscribe: { idOf: (entry: unknown) => (entry as Partial<Entry> | null)?.sessionId, example: '[{ "sessionId": "a" }, { "sessionId": "b" }]' },
  unsubscribe: { idOf: (entry: unknown) => entry, example: '["a", "b"]' }
} as const

/** Validates and dispatches the messages of clients. */
export class Inbound {
  readonly #options: InboundOptions

  constructor (options: InboundOptions) {
    this.#options = options
  }

  /** Handles one message. Never throws, whatever the client sends and whatever the app's hook does. */
  receive (connection: Connection, data: Buffer, isBinary: boolean): void {
    const { connections, counters, replies } = this.#options
    if (!connections.mayAct(connection)) return
    counters.received++
    if (!this.#checkRate(connection)) return
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

  /** Handles an unsolicited control frame. It counts as a message, so that a flood of them is limited too. */
  unsolicited (connection: Connection): void {
    if (this.#options.connections.mayAct(connection)) this.#checkRate(connection)
  }

  /** Whether the client keeps to the rate limit. If not, sends an error and closes the connection. */
  #checkRate (connection: Connection): boolean {
    const { connections, clock, replies } = this.#options
    connection.isAlive = true
    if (connection.rateLimit.take(clock.monotonic())) return true
    replies.error(connection, 'rate_limited', 'too many messages: reconnect later and send fewer')
    connections.close(connection, 'rateLimited')
    return false
  }

  #dispatch (connection: Connection, message: UnknownMessage): void {
    const { replies, cancellations } = this.#options
    if (message.sessions !== undefined && isBatch(message.type)) {
      this.#dispatchBatch(connection, message, message.type)
    } else if (isValid('ping', message)) {
      replies.pong(connection)
    } else if (isValid('subscribe', message)) {
      this.#subscribe(connection, message)
    } else if (isValid('unsubscribe', message)) {
      this.#unsubscribe(connection, message)
    } else if (isValid('cancel', message)) {
      cancellations.request(connection, message.sessionId, message.jobId)
    } else if (isAboutSession(message.type)) {
      replies.error(connection, 'invalid_session_id',
        `"${message.type}" needs a "sessionId"${message.type === 'cancel' ? ', and may have a "jobId"' : ''}: ${ID_RULE}`,
        aboutInvalid(message.type, message.sessionId))
    } else {
      this.#passToApp(connection, message)
    }
  }

  /** Handles a message about several sessions. Refuses entries with an invalid id and carries out the others. */
  #dispatchBatch (connection: Connection, message: UnknownMessage, type: keyof typeof batches): void {
    const { replies, limits: { sessions: most = Infinity } } = this.#options
    const { sessions } = message
    const { idOf, example } = batches[type]
    if (message.sessionId !== undefined) {
      replies.error(connection, 'invalid_message', `"${type}" takes either a "sessionId" or "sessions", not both`, { request: type })
    } else if (!Array.isArray(sessions) || sessions.length === 0 || sessions.length > most) {
      replies.error(connection, 'invalid_message', `"sessions" must be an array such as ${example}, with at least one entry${
        most === Infinity ? '' : ` and at most ${most}`}: send further ones in another message`, { request: type })
    } else {
      for (const [at, entry] of sessions.entries()) {
        if (isId(idOf(entry))) continue
        replies.error(connection, 'invalid_session_id', `entry ${at} of "sessions" has no id that is ${ID_RULE}: such an array is ${example}`,
          aboutInvalid(type, idOf(entry)))
        if (!this.#checkRate(connection)) return
      }
      const valid = { type, sessions: sessions.filter((entry) => isId(idOf(entry))) }
      if (isValid('subscribe', valid)) this.#subscribe(connection, valid)
      else if (isValid('unsubscribe', valid)) this.#unsubscribe(connection, valid)
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
    // The last of several entries for one session counts.
    const entries = new Map(message.sessions.map((entry) => [entry.sessionId, entry]))
    for (const entry of entries.values()) {
      // An entry that is answered without a call of `authorize` counts as a message. Otherwise one message could cause hundreds
      // of answers, again and again.
      if (!subscribe(entry) && !this.#checkRate(connection)) return
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
      if (!wasFollowed && !this.#checkRate(connection)) return
    }
  }

  /** Passes a message of an unknown type to the app's hook. */
  #passToApp (connection: Connection, message: UnknownMessage): void {
    const { onMessage, clientOf, connections, replies, log } = this.#options
    const failed = (err: unknown): void => {
      log.error({ err, clientId: connection.id, type: message.type.slice(0, 64) }, 'onMessage failed')
      if (connections.mayAct(connection)) replies.error(connection, 'internal_error', 'the app failed to handle this message')
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
      `${shown} is not a type that this server handles: send ping, subscribe, unsubscribe or cancel`)
  }
}

/** Returns the invalid id if it is a string, so that the client knows which of its requests was refused. */
function aboutInvalid (request: Exclude<ClientMessage['type'], 'ping'>, id: unknown): About {
  return { request, ...(typeof id === 'string' && { sessionId: id }) }
}

function isBatch (type: string): type is keyof typeof batches {
  return Object.hasOwn(batches, type)
}

/** Whether it is a type of the protocol. `ping` is excluded, because it is always valid. */
function isAboutSession (type: string): type is Exclude<ClientMessage['type'], 'ping'> {
  return Object.hasOwn(checks, type)
}

function isMessage (value: unknown): value is UnknownMessage {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && typeof (value as UnknownMessage).type === 'string'
}

function isValid<T extends ClientMessage['type']> (type: T, message: UnknownMessage): message is Extract<ClientMessage, { type: T }> {
  return message.type === type && checks[type].Check(message)
}
