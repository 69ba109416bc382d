/** What a job is asked to do, as it came with the request. */
export interface AgentTask {
  mode: string
  prompt?: string
  /** Relative to the project root. */
  targetFile?: string
}

interface AgentContext {
  /** Aborts when nobody waits for the text any more. An agent passes it on to whatever it waits for itself. */
  signal: AbortSignal
}

/**
 * Does a task and gives its text piece by piece. Returning means that the text is whole; throwing means that it isn't,
 * with an `AgentError` or with whatever the agent's own service threw.
 */
export type Agent = (task: AgentTask, context: AgentContext) => AsyncIterable<string>

/** Where the AI services have a name for the same trouble it is theirs, so that a client needs one table only. */
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

/** A failure that the person who asked can read and act on: it reaches them as `ai_error`. */
export class AgentError extends Error {
  readonly type: AgentErrorType

  constructor (type: AgentErrorType, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'AgentError'
    this.type = type
  }
}
