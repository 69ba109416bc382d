import type { ErrorCode } from '../protocol/codes.js'

/**
 * What went wrong: the server's codes, for what it did not accept, and the client's own.
 *
 * - `connection_failed`: an attempt to connect failed. The message names the URL, without its query, and the cause where
 *   the environment gives one, which browsers do not. The client reconnects by itself where that makes sense.
 * - `token_failed`: `getToken` threw, rejected, or returned something that is not a string; what it threw is the `cause`.
 * - `token_too_large`: a warning before an attempt. The server, or a proxy, may refuse a header of the token's size.
 * - `queue_full`: more was sent while not connected than `maxQueuedMessages`.
 * - `not_sent`: messages that waited for a connection were given up, because there will be none.
 * - `closed`: the client is closed.
 * - `no_url`, `no_websocket`: outside a browser, what must be given.
 * - `invalid_option`: an option is unknown, or its value has the wrong type. Thrown by `createClient`.
 */
export type ClientErrorCode = ErrorCode
  | 'connection_failed' | 'token_failed' | 'token_too_large' | 'queue_full' | 'not_sent' | 'closed' | 'no_url' | 'no_websocket'
  | 'invalid_option'

export class ClientError extends Error {
  override readonly name = 'ClientError'
  readonly code: ClientErrorCode
  /** What an answer of the server's was about. */
  readonly sessionId: string | undefined
  readonly jobId: string | undefined

  constructor (code: ClientErrorCode, message: string, about: { cause?: unknown, sessionId?: string | undefined, jobId?: string | undefined } = {}) {
    super(message, about)
    this.code = code
    this.sessionId = about.sessionId
    this.jobId = about.jobId
  }
}
