/** Limits on jobs. */
export interface Jobs {
  /**
   * How long a job may go without a report or a call of `keepAlive`, in milliseconds. After it, the job ends with an `ai_error` of
   * type `stalled`.
   * @default 600_000 (10 minutes)
   */
  stallAfterMs: number
  /** UTF-16 units kept of the end of a job's streamed text, at most 1/32 of `history.maxTotalBytes`. @default 1_048_576 */
  maxTextUnits: number
}
