/** Identity of a client: the return value of `authenticate`, or without that hook the query's `userId`. */
export interface Identity {
  /** User whose notifications the client gets. Without it, the client gets only those of sessions and those for all clients. */
  userId?: string
  /**
   * Expiry time, in milliseconds since 1970 or as a Date. The connection is then closed with 4002, and the client reconnects
   * with a fresh token. A JWT's `exp` counts seconds: multiply it by 1000. If absent, the identity does not expire.
   */
  expiresAt?: number | Date
  [field: string]: unknown
}

/** Request of a client that `authorize` decides. */
export type Action =
  | { type: 'subscribe', sessionId: string }
  | { type: 'cancel', sessionId: string, jobId?: string }

/** Whether an identity has expired. `now` is in milliseconds since 1970. */
export function hasExpired ({ expiresAt }: Pick<Identity, 'expiresAt'>, now: number): boolean {
  return expiresAt !== undefined && Number(expiresAt) <= now
}
