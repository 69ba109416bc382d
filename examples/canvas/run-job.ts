import type { AITask, TrackOptions } from 'ai-canvas-ws'
import { abortable } from './abortable.js'
import { AgentError, type Agent, type AgentTask } from './agents/agent.js'

/** What a job needs of the `WebSocketManager`: its `trackAI`. */
interface Tracker {
  trackAI: (sessionId: string, task: AITask, text: AsyncIterable<string>, options: TrackOptions<string>) => AsyncIterable<string>
}

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
  tracker: Tracker
  /** Called once, before anybody can act on the end: who is told that there is a result must be able to fetch it. */
  onEnd: (outcome: Outcome) => void
  maxContentLength: number
}

/**
 * Drives an agent through its task while its session watches the text grow, and may cancel it. Resolves when the end was
 * told; never rejects.
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
    // A client's cancel: it ends the job while the agent is at work, which shall not go on for nobody
    end(error)
    left.abort(error)
  }
}

/**
 * The agent's text. Stopping it is left to this and not to `trackAI`, which would tell every abort as `cancelled`: that the
 * job took too long, or that the server closes, is of more use.
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
        throw new AgentError('output_too_large', `the text grew past ${maxContentLength} characters: ask for less at a time`)
      }
    }
    signal.throwIfAborted()
  } catch (error) {
    // What an agent throws when it is stopped only says that it was; the reason says why
    const reason = asError(signal.aborted ? signal.reason : error)
    end(reason)
    throw reason
  }
}

function asError (thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error('the agent failed without saying why', { cause: thrown })
}
