/** The address at which BullMQ and ai-canvas-ws reach Redis. Each makes its own connections. */
export const connection = { host: process.env.REDIS_HOST ?? 'localhost', port: Number(process.env.REDIS_PORT ?? 6379) }

/** The data of a job. */
export interface Task {
  sessionId: string
  prompt: string
}
