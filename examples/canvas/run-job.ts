import type { AITask, TrackOptions } from 'ai-canvas-ws'
import { abortable } from './abortable.js'
import { AgentError, type Agent, type AgentTask } from './agents/agent.js'

/** The part of `WebSocketManager` that a job needs: its `trackAI`. */
interface Tracker {
  trackAI: (sessionId: string, task: AITask, text: AsyncIterable<string>, options: TrackOptions<string>) => AsyncIterable<string>
}

export interface Job {
  sessionId: string
  task: AgentTask
  agent: Agent
  /** Ends the job. Its reason is sent to the session. */
  signal: AbortSignal
}

/** The result of a job. Lengths are in UTF-16 units. */
export interface Outcome {
  content: string
  chunks: number
  /** Undefined if the content is complete. */
  error?: Error
}

export interface RunJobOptions {
  tracker: Tracker
  /** Called once, before the end is announced, because subscribers may fetch the result as soon as they know of it. */
  onEnd: (outcome: Outcome) => void
  maxContentLength: number
}

/**
 * Runs an agent on its task. The session sees the text grow and may cancel the job. Resolves when the end was announced; never
 * rejects.
 */
export async function runJob (job: Job, { tracker, onEnd, maxContentLength }: RunJobOptions): Promise<void> {
  const { sessionId, task } = job
  const outcome: Outcome = { content: '', chunks: 0 }
  let hasEnded = false
  const end = (error?: unknown): void => {
    if (hasEnded) return
    hasEnded = true
    onEnd(error === undefined ? outcome : { ...outcome, error: asError(error) })
  }
  const left = new AbortController()
  const text = write(job, maxContentLength, left.signal, end)
  try {
    const tracked = tracker.trackAI(sessionId, { ...task }, text, {
      text: true,
      result (result) {
        end()
        return result
      }
    })
    for await (const chunk of tracked) {
      outcome.content += chunk
      outcome.chunks++
    }
  } catch (error) {
    // A client's cancel ends the job in the middle of the agent's work, which must not continue for nothing.
    end(error)
    left.abort(error)
  }
}

/**
 * Yields the agent's text. This function handles aborts instead of `trackAI`, which would report each one as `cancelled`. A
 * timeout or a closing server is a more useful reason.
 */
async function * write (
  { agent, task, signal: stop }: Job, maxContentLength: number, left: AbortSignal, end: (error: unknown) => void
): AsyncGenerator<string> {
  const signal = AbortSignal.any([stop, left])
  let length = 0
  try {
    for await (const chunk of abortable(agent(task, { signal }), signal)) {
      yield chunk
      length += chunk.length
      if (length > maxContentLength) {
        throw new AgentError('output_too_large', `the text exceeds ${maxContentLength} characters: ask for less at a time`)
      }
    }
    signal.throwIfAborted()
  } catch (error) {
    // A stopped agent throws only an abort error. The signal's reason says why.
    const reason = asError(signal.aborted ? signal.reason : error)
    end(reason)
    throw reason
  }
}

function asError (thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error('the agent failed without an error message', { cause: thrown })
}
