import type { FastifyRequest } from 'fastify'
import type { Clock } from '../util/clock.js'
import { TIMED_OUT, withDeadline } from '../util/deadline.js'
import { isPromise, tryThen, andThen, type MaybePromise } from '../util/maybe-promise.js'
import type { CloseName } from '../protocol/codes.js'
import { isId } from '../protocol/ids.js'
import { parseHaveText, parseSince, type Since } from '../protocol/positions.js'
import type { SubscribeRequest } from '../connections/connection.js'
import { fieldOf, messageOf } from '../util/safe-error.js'
import type { Admitted } from '../connections/handshakes.js'
import type { Subscriptions } from '../connections/subscriptions.js'
import { hasExpired, type Identity } from '../connections/identity.js'
import type { Logger } from '../util/logger.js'
import type { DisconnectSignal } from './disconnect-signal.js'
import { withholdCredentials } from './credentials.js'
import { hintFor, isOriginAllowed, type Addressed } from './origin.js'
import { redactToken, tokenOf } from './token.js'

/**
 * Hook that identifies a client. Returning an identity admits the client. Returning nothing, `null` or `false`, or throwing,
 * refuses it with 1008 `Unauthorized`. An error with a `statusCode` of 500 or more means that the check itself failed: the
 * client is closed with 1011 and reconnects. If the hook times out (`limits.authTimeoutMs`), the client is closed with 1013 and
 * reconnects.
 */
export type Authenticate = (
  request: FastifyRequest,
  context: {
    /**
     * The client's token, from the subprotocol, the bearer header or `?token=`. Not validated. For a page of a foreign origin
     * it is the only credential: cookies and the `Authorization` header are removed from the request.
     */
    readonly token: string | undefined
    /** Aborts when the client disconnects or the hook times out. */
    readonly signal: AbortSignal
  }
) => MaybePromise<Identity | null | undefined | false>

export interface AdmissionOptions {
  readonly authenticate: Authenticate | undefined
  /**
   * Undefined: any origin without `authenticate`. With it, only the server's own host, because a cookie may identify the
   * client.
   */
  readonly origins: ReadonlySet<string> | undefined
  readonly authTimeoutMs: number
  readonly subscriptions: Subscriptions
  readonly clock: Clock
  readonly log: Logger
}

/** Reason why a client is refused. */
export interface Refused {
  readonly refused: CloseName
  /** Sent to the client, in the close reason. */
  readonly detail?: string
  /** Logged, and not sent to the client. */
  readonly fields?: Readonly<Record<string, string>>
}

interface Query {
  readonly userId: string | undefined
  readonly sessionId: string | undefined
  readonly request: SubscribeRequest
  readonly userSince: Since | undefined
  /** Whether the client reports a reconnect. */
  readonly isReconnect: boolean
}

/** Smaller numbers are probably seconds, because as milliseconds they would be before 1973. */
const SECONDS_BELOW = 100_000_000_000

/** Decides whether a client is admitted, and with which identity. */
export class Admission {
  readonly #options: AdmissionOptions

  constructor (options: AdmissionOptions) {
    this.#options = options
  }

  /** Admits or refuses a client. Never rejects. A timeout counts as a disconnect. */
  admit (request: FastifyRequest, disconnect: DisconnectSignal): MaybePromise<Admitted | Refused> {
    const { authenticate } = this.#options
    const query = readQuery(request.query)
    if ('refused' in query) return query
    const isForeign = this.isForeign(request)
    if (isForeign) withholdCredentials(request.raw)
    const token = authenticate === undefined ? undefined : tokenOf(request)
    if (isForeign && token === undefined) return refusedOrigin(request)
    if (authenticate === undefined) return this.#withSession({ ...(query.userId !== undefined && { userId: query.userId }) }, query)
    // A foreign page can send any token. A hook may rely on something else, such as a client certificate or a gateway's header,
    // which the browser sends for any page. So a foreign page is refused if the hook did not read the token.
    let tokenWasRead = false
    const context = {
      get token () {
        tokenWasRead = true
        return token
      },
      get signal () {
        return disconnect.signal
      }
    }
    return tryThen<unknown, Admitted | Refused>(
      () => this.#authenticate(() => authenticate(request, context), disconnect),
      (identity) => isForeign && !tokenWasRead ? refusedOrigin(request) : this.#checked(identity, query, disconnect),
      (error) => this.#failed(error, token)
    )
  }

  /** Whether the request comes from a page that may not use the credentials that browsers add automatically. */
  isForeign (request: Addressed): boolean {
    const { authenticate, origins } = this.#options
    if (authenticate === undefined && origins === undefined) return false
    return !isOriginAllowed(request, origins ?? new Set())
  }

  #authenticate (authenticate: () => MaybePromise<unknown>, disconnect: DisconnectSignal): MaybePromise<unknown> {
    const { clock, authTimeoutMs } = this.#options
    const answer = authenticate()
    if (!isPromise(answer)) return answer
    return withDeadline(clock, authTimeoutMs, answer, disconnect.signal).then((identity) => {
      if (identity === TIMED_OUT) disconnect.trigger()
      return identity
    })
  }

  #checked (identity: unknown, query: Query, disconnect: DisconnectSignal): MaybePromise<Admitted | Refused> {
    const { log, clock, authTimeoutMs } = this.#options
    if (identity === TIMED_OUT) {
      log.warn({ authTimeoutMs }, 'authenticate did not settle in time: client refused')
      return { refused: 'overCapacity' }
    }
    // The client has disconnected, so `authorize` need not be called.
    if (disconnect.isDisconnected) return { refused: 'goingAway' }
    if (identity === undefined || identity === null || identity === false) return { refused: 'unauthorized' }
    const fault = faultOf(identity)
    if (fault !== undefined) {
      log.error({ fault }, 'authenticate returned an invalid identity: client refused')
      return { refused: 'unauthorized' }
    }
    const known = identity as Identity
    if (hasExpired(known, clock.now())) return { refused: 'unauthorized' }
    if (query.userId !== undefined && query.userId !== known.userId) {
      return { refused: 'badRequest', detail: 'userId is not the authenticated one' }
    }
    return this.#withSession(known, query)
  }

  #failed (error: unknown, token: string | undefined): Refused {
    const [name, statusCode, message] = [fieldOf(error, 'name'), fieldOf(error, 'statusCode'), messageOf(error)]
    const fields = { error: typeof name === 'string' ? name : typeof error, reason: token === undefined ? message : redactToken(message, token) }
    if (typeof statusCode === 'number' && statusCode >= 500) {
      this.#options.log.error(fields, 'authenticate failed: client refused')
      return { refused: 'serverError' }
    }
    this.#options.log.info(fields, 'authenticate refused a client')
    return { refused: 'unauthorized' }
  }

  #withSession (identity: Identity, query: Query): MaybePromise<Admitted> {
    const { sessionId, request, userSince, isReconnect } = query
    const asked = sessionId === undefined ? 'allowed' : this.#options.subscriptions.permit(identity, { type: 'subscribe', sessionId })
    return andThen(asked, (permission) => ({ identity, sessionId, request, userSince, isReconnect, permission }))
  }
}

/** Maximum length of the logged origin and host, which the client chose. Enough for a domain name with a scheme and a port. */
const MAX_LOGGED = 280

function refusedOrigin (request: FastifyRequest): Refused {
  const { headers: { origin = '' }, host } = request
  return {
    refused: 'originNotAllowed',
    fields: { origin: origin.slice(0, MAX_LOGGED), host: host.slice(0, MAX_LOGGED), hint: hintFor(request) }
  }
}

/** Returns what is wrong with an identity and how to fix it, or undefined for a valid one. */
function faultOf (identity: unknown): string | undefined {
  if (typeof identity !== 'object' || identity === null) return 'return an object such as { userId }'
  const { userId, expiresAt } = identity as Partial<Identity>
  if (userId !== undefined && !isId(userId)) return 'userId must be a string of 1 to 256 characters without control characters'
  if (expiresAt === undefined) return undefined
  const isTime = typeof expiresAt === 'number' || expiresAt instanceof Date
  if (!isTime || Number.isNaN(Number(expiresAt))) return 'expiresAt must be milliseconds since 1970, or a Date'
  if (Number(expiresAt) < SECONDS_BELOW) return 'expiresAt counts milliseconds: multiply the exp of a JWT by 1000'
  return undefined
}

function readQuery (query: unknown): Query | Refused {
  const { userId, sessionId, since, userSince, have, attempt } = query as Record<string, unknown>
  for (const [name, value] of Object.entries({ userId, sessionId })) {
    if (Array.isArray(value)) return { refused: 'badRequest', detail: `${name} is given more than once` }
    if (value !== undefined && !isId(value)) {
      return { refused: 'badRequest', detail: `${name} must be 1 to 256 characters, none of them a control character` }
    }
  }
  return {
    userId: userId as string | undefined,
    sessionId: sessionId as string | undefined,
    request: { since: parseSince(since), have: parseHaveText(have) },
    userSince: parseSince(userSince),
    isReconnect: since !== undefined || userSince !== undefined || (typeof attempt === 'string' && Number(attempt) >= 1)
  }
}
