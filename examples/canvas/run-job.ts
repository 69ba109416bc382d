import type { WebSocketManager } from 'ai-canvas-ws'
import { abortable } from './abortable.js'
import { AgentError, type Agent, type AgentTask } from './agents/agent.js'
import { throttle } from './throttle.js'

/** What a job needs of the `WebSocketManager`. */
export type Notifier = Pick<WebSocketManager, 'notifyAIStart' | 'notifyAIProgress' | 'notifyAIComplete' | 'notifyAIError'>

export interface Job {
  sessionId: string
  task: AgentTask
  agent: Agent
  /** Ends the job; its reason is what the session is told. */
  signal: AbortSignal
}

/** What came of a job. Lengths count UTF-16 units, as JavaScript does. */
export interface Outcome {
  content: string
  chunks: number
  /** Absent when the content is whole. */
  error?: Error
}

export interface RunJobOptions {
  notifier: Notifier
  /** Called once, before the session hears of the end: who is told that there is a result must be able to fetch it. */
  onEnd: (outcome: Outcome) => void
  maxContentLength: number
  /** @default 100 */
  progressIntervalMs?: number
}

/** Drives an agent through its task and tells the session how it goes. Resolves when the end was told; never rejects. */
export async function runJob (job: Job, { notifier, onEnd, maxContentLength, progressIntervalMs = 100 }: RunJobOptions): Promise<void> {
  const { sessionId, task, agent, signal } = job
  const outcome: Outcome = { content: '', chunks: 0 }
  const progress = throttle(({ chunks, contentLength }: { chunks: number, contentLength: number }) => {
    void notifier.notifyAIProgress(sessionId, { chunksReceived: chunks, contentLength })
  }, progressIntervalMs)

  void notifier.notifyAIStart(sessionId, { ...task })
  try {
    for await (const chunk of abortable(agent(task, { signal }), signal)) {
      outcome.content += chunk
      outcome.chunks++
      progress.report({ chunks: outcome.chunks, contentLength: outcome.content.length })
      if (outcome.content.length > maxContentLength) {
        throw new AgentError('output_too_large', `the text grew past ${maxContentLength} characters: ask for less at a time`)
      }
    }
    signal.throwIfAborted()
  } catch (error) {
    // What an agent throws when it is stopped only says that it was; the reason says why
    outcome.error = asError(signal.aborted ? signal.reason : error)
  }
  progress.flush()
  onEnd(outcome)
  await tellEnd(job, outcome, notifier)
}

async function tellEnd ({ sessionId, task }: Job, { content, chunks, error }: Outcome, notifier: Notifier): Promise<void> {
  const told = error === undefined
    ? notifier.notifyAIComplete(sessionId, {
        mode: task.mode, contentLength: content.length, chunks, ...task.targetFile !== undefined && { targetFile: task.targetFile }
      })
    : notifier.notifyAIError(sessionId, error)
  // The manager has logged it, and there is nobody else to tell
  await told.catch(() => undefined)
}

function asError (thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error('the agent failed without saying why', { cause: thrown })
}
