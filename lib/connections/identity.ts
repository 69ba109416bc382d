/** Who is behind a connection: what the `authenticate` hook returned, or without one what the query says. */
export interface Identity {
  /** The user whose notifications it gets. Without one it gets those of sessions alone. */
  userId?: string
  /**
   * When it ends, in milliseconds since 1970 or as a Date. The connection is then closed with 4002, and the client comes
   * back with a fresh token. A JWT's `exp` counts seconds: multiply it by 1000. Absent: it does not end.
   */
  expiresAt?: number | Date
  [field: string]: unknown
}

/** What a client asks to be allowed to do. */
export type Action =
  | { type: 'subscribe', sessionId: string }
  | { type: 'cancel', sessionId: string, jobId?: string }

/** Whether it has ended by now, in milliseconds since 1970. */
export function hasExpired ({ expiresAt }: Pick<Identity, 'expiresAt'>, now: number): boolean {
  return expiresAt !== undefined && Number(expiresAt) <= now
}
