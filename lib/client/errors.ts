import type { ErrorCode } from '../protocol/codes.js'

/**
 * The code of a `ClientError`: one of the server's error codes, or one of the client's own.
 *
 * - `connection_failed`: an attempt to connect failed. The message contains the URL without its query, and the cause if the
 *   environment provides one (browsers don't). The client reconnects by itself where that can help.
 * - `token_failed`: `getToken` threw, rejected or returned an invalid value. The thrown error is the `cause`.
 * - `token_too_large`: a warning before an attempt. The server or a proxy may refuse a header of the token's size.
 * - `queue_full`: more than `maxQueuedMessages` messages were sent without a connection.
 * - `not_sent`: messages were not sent: the client was closed or gave up, or the component was unmounted.
 * - `closed`: the client is closed.
 * - `no_url`, `no_websocket`: outside a browser, the option `url` or `WebSocket` is missing.
 * - `invalid_option`: an option is unknown or has a value of the wrong type. `createClient` throws it.
 */
export type ClientErrorCode = ErrorCode
  | 'connection_failed' | 'token_failed' | 'token_too_large' | 'queue_full' | 'not_sent' | 'closed' | 'no_url' | 'no_websocket'
  | 'invalid_option'

export class ClientError extends Error {
  override readonly name = 'ClientError'
  readonly code: ClientErrorCode
  /** The session that the server's error is about, if any. */
  readonly sessionId: string | undefined
  /** The job that the server's error is about, if any. */
  readonly jobId: string | undefined

  constructor (code: ClientErrorCode, message: string, about: { cause?: unknown, sessionId?: string | undefined, jobId?: string | undefined } = {}) {
    super(message, about)
    this.code = code
    this.sessionId = about.sessionId
    this.jobId = about.jobId
  }
}
