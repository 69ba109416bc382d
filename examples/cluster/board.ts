import type { Redis } from 'ioredis'
import type { AgentTask } from '../canvas/agents/agent.js'
import type { Result } from '../canvas/results.js'

/** A job that waits for a worker. */
export interface QueuedJob {
  readonly sessionId: string
  readonly jobId: string
  readonly task: AgentTask
}

const QUEUE = 'canvas:queue'
const RESULT_TTL_SECONDS = 3_600

/**
 * The data that the nodes and the workers share besides the notifications: a queue of jobs, and their results. An app with many
 * jobs would use a queue that keeps a job until it has ended, such as BullMQ.
 */
export class Board {
  readonly #redis: Redis

  constructor (redis: Redis) {
    this.#redis = redis
  }

  async add (job: QueuedJob): Promise<void> {
    await this.#redis.rpush(QUEUE, JSON.stringify(job))
  }

  /** Waits for the next job. Blocks the connection. */
  async take (): Promise<QueuedJob | undefined> {
    const entry = await this.#redis.blpop(QUEUE, 1)
    return entry === null ? undefined : JSON.parse(entry[1]) as QueuedJob
  }

  async setResult (result: Result): Promise<void> {
    await this.#redis.set(resultKey(result.sessionId), JSON.stringify(result), 'EX', RESULT_TTL_SECONDS)
  }

  async findResult (sessionId: string): Promise<Result | undefined> {
    const result = await this.#redis.get(resultKey(sessionId))
    return result === null ? undefined : JSON.parse(result) as Result
  }
}

function resultKey (sessionId: string): string {
  return `canvas:result:${sessionId}`
}
