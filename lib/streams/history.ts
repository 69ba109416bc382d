/**
 * Limits on the messages that are kept for clients that reconnect or subscribe late. Bytes are an upper bound of the memory
 * used: 3 × the message's length + 576, or 4 × its length + 832 if the message is long enough to be compressed.
 */
export interface History {
  /** Messages kept per session or user. 0 keeps none. @default 1_000 */
  maxMessages: number
  /** Bytes kept per session or user. @default 1_048_576 (1 MiB) */
  maxBytes: number
  /** How long a session's or user's messages are kept after the latest one, in milliseconds. @default 300_000 (5 minutes) */
  ttlMs: number
  /** How long the end of a job is kept, in milliseconds. @default 86_400_000 (24 hours) */
  endTtlMs: number
  /**
   * Bytes kept in total, including the texts of running jobs. One message may take 1/16 of it. One session or user may take 1/8
   * of it, including the state of its jobs. A larger start or end of a job is kept in a short form, marked as `truncated`. If
   * the total is exceeded, the largest session loses data first, then the least recently used one.
   * @default 67_108_864 (64 MiB)
   */
  maxTotalBytes: number
  /**
   * Sessions and users for which anything is kept. Those with subscribers don't count. If they have a running job, as many again
   * are kept. @default 100_000
   */
  maxStreams: number
}
