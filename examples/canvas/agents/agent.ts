/** The task of a job, as it came with the request. */
export interface AgentTask {
  mode: string
  prompt?: string
  /** Relative to the project root. */
  targetFile?: string
}

interface AgentContext {
  /** Aborts when the text is no longer needed. An agent passes it on to everything that it awaits. */
  signal: AbortSignal
}

/**
 * Performs a task and yields its text piece by piece. Returning means that the text is complete. Throwing means that it isn't;
 * the error is an `AgentError` or one of the agent's own service.
 */
export type Agent = (task: AgentTask, context: AgentContext) => AsyncIterable<string>

/** Types of errors. If AI services have a name for an error, it is used here, too, so that a client needs only one table. */
export type AgentErrorType =
  | 'invalid_request_error'
  | 'not_found_error'
  | 'permission_error'
  | 'request_too_large'
  | 'api_error'
  | 'timeout_error'
  | 'connection_error'
  | 'content_filter'
  | 'output_too_large'
  | 'not_configured'
  | 'server_closing'
  | 'internal_error'

/** A failure that the user can read and act on. It reaches clients as `ai_error`. */
export class AgentError extends Error {
  readonly type: AgentErrorType

  constructor (type: AgentErrorType, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'AgentError'
    this.type = type
  }
}
