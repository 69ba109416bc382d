import { Type, type Static } from '@sinclair/typebox'
import type { AgentTask } from './agents/agent.js'
import type { Outcome } from './run-job.js'

/** The result of a session's latest job. */
export const Result = Type.Object({
  sessionId: Type.String(),
  status: Type.Union([Type.Literal('running'), Type.Literal('complete'), Type.Literal('error')]),
  mode: Type.String(),
  targetFile: Type.Optional(Type.String()),
  chunks: Type.Integer(),
  contentLength: Type.Integer({ description: 'In UTF-16 units.' }),
  content: Type.String({ description: 'Empty while the job is running. After an error, the text until then.' }),
  error: Type.Optional(Type.Object({ message: Type.String() }))
})
export type Result = Static<typeof Result>

export interface ResultsOptions {
  maxResults: number
  /** The total length of all results, in UTF-16 units. */
  maxContentLength: number
}

/** Keeps the latest result of each session. Drops the oldest ones if they become too many or too long. */
export class Results {
  readonly #limits: ResultsOptions
  readonly #bySession = new Map<string, Result>()
  #contentLength = 0

  constructor (limits: ResultsOptions) {
    this.#limits = limits
  }

  get (sessionId: string): Result | undefined {
    return this.#bySession.get(sessionId)
  }

  begin (sessionId: string, task: AgentTask): void {
    this.#set(sessionId, task, 'running', { content: '', chunks: 0 })
  }

  end (sessionId: string, task: AgentTask, outcome: Outcome): void {
    this.#set(sessionId, task, outcome.error === undefined ? 'complete' : 'error', outcome)
  }

  #set (sessionId: string, task: AgentTask, status: Result['status'], outcome: Outcome): void {
    this.#delete(sessionId)
    this.#contentLength += outcome.content.length
    this.#bySession.set(sessionId, resultOf(sessionId, task, status, outcome))
    for (const oldest of this.#bySession.keys()) {
      const fits = this.#bySession.size <= this.#limits.maxResults && this.#contentLength <= this.#limits.maxContentLength
      if (fits || oldest === sessionId) break
      this.#delete(oldest)
    }
  }

  #delete (sessionId: string): void {
    this.#contentLength -= this.#bySession.get(sessionId)?.content.length ?? 0
    this.#bySession.delete(sessionId)
  }
}

export function resultOf (sessionId: string, { mode, targetFile }: AgentTask, status: Result['status'], { content, chunks, error }: Outcome): Result {
  return {
    sessionId,
    status,
    mode,
    ...targetFile !== undefined && { targetFile },
    chunks,
    contentLength: content.length,
    content,
    ...error !== undefined && { error: { message: error.message } }
  }
}
