import type { AppMessage } from '../connections/app-message.js'
import type { PublicationKey } from '../streams/broker.js'
import { errors } from '../util/errors.js'
import { toAll, toSession, toUser } from './broadcasts.js'
import type { Notifier, Receipt, Report } from './notifier.js'

/** What a worker without a node publishes: a report on a job, or the app's own message to a session, a user or everyone. */
export type RemoteRequest =
  | { readonly sessionId: string, readonly jobId?: string } & Exclude<Report, { readonly type: 'ai_error' }>
  | { readonly sessionId: string, readonly jobId?: string } & Pick<Extract<Report, { readonly type: 'ai_error' }>, 'type' | 'error'>
  | { readonly type?: undefined, readonly sessionId?: string, readonly userId?: string, readonly message: AppMessage, readonly durable?: boolean }

const ofTheRequest = [errors.InvalidId, errors.InvalidMessage, errors.NotSerializable] as const

/**
 * Publishes the request of a worker. If the worker repeats it with the same key, on any node, the first receipt is returned.
 *
 * Rejects with `AICW_ERR_INVALID_ID`, `AICW_ERR_INVALID_MESSAGE` or `AICW_ERR_NOT_SERIALIZABLE` for an invalid request, with
 * `AICW_ERR_KEY_REUSED` if another request has used the key, and with `AICW_ERR_UNAVAILABLE` if the broker has not confirmed the
 * message.
 */
export async function publishRemote (notifier: Notifier, request: RemoteRequest, key: PublicationKey | undefined): Promise<Receipt> {
  const receipt = await send(notifier, request, key).catch((error: unknown) => {
    throw ofTheRequest.some((known) => error instanceof known) ? error : new errors.Unavailable({ cause: error })
  })
  const { epoch, dropped, pending } = receipt
  if (dropped === 'reused') throw new errors.KeyReused()
  // After the app was closed, nothing is published.
  if (pending === true || epoch === undefined) throw new errors.Unavailable()
  return receipt
}

function send (notifier: Notifier, request: RemoteRequest, key: PublicationKey | undefined): Promise<Receipt> {
  if (request.type !== undefined) {
    const { sessionId, jobId } = request
    return notifier.report(sessionId, request, { jobId, remote: { key } })
  }
  return notifier.publish('broadcast', () => {
    const { sessionId, userId, message, durable } = request
    const timestamp = notifier.timestamp()
    const [stream, body, options] = sessionId !== undefined
      ? toSession(sessionId, message, timestamp, durable)
      : userId !== undefined ? toUser(userId, message, timestamp, durable) : toAll(message, timestamp)
    return [stream, body, { ...options, key }]
  })
}
