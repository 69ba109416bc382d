import type { ErrorCode } from '../protocol/codes.js'

/**
 * What went wrong: the server's codes, for what it did not accept, and the client's own.
 *
 * - `connection_failed`: an attempt to connect failed. The client goes on by itself where that makes sense.
 * - `token_failed`: `getToken` threw or rejected; what it threw is the `cause`.
 * - `queue_full`: more was sent while not connected than `maxQueuedMessages`.
 * - `not_sent`: messages that waited for a connection were given up, because there will be none.
 * - `closed`: the client is closed.
 * - `no_url`, `no_websocket`: outside a browser, what must be given.
 */
export type ClientErrorCode = ErrorCode
  | 'connection_failed' | 'token_failed' | 'queue_full' | 'not_sent' | 'closed' | 'no_url' | 'no_websocket'

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
