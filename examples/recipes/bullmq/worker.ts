import { setTimeout as sleep } from 'node:timers/promises'
import { createPublisher } from 'ai-canvas-ws/redis'
import { UnrecoverableError, Worker, type Job } from 'bullmq'
import { connection, type Task } from './shared.js'

const WORDS_PER_SECOND = Number(process.env.WORDS_PER_SECOND ?? 10)
const FAILURE_RATE = Number(process.env.FAILURE_RATE ?? 0.1)
const CHAPTERS = 5

const publisher = await createPublisher({ redis: connection })

// One call is enough for a job with one attempt. A second attempt would stream another answer after the first one.
async function answer ({ id: jobId = '', data: { sessionId, prompt } }: Job<Task>): Promise<string> {
  const outcome = await publisher.runAI(sessionId, { mode: 'answer', prompt }, (signal) => write(prompt, signal), { jobId, text: true })
  if (outcome.status !== 'complete') throw new UnrecoverableError(outcome.error.message)
  return outcome.text
}

// A job with several attempts is one job for its subscribers. Each attempt continues where the previous one stopped.
async function report (job: Job<Task>): Promise<void> {
  const { id: jobId = '', data: { sessionId, prompt }, opts: { attempts = 1 } } = job
  const aiJob = publisher.startAI(sessionId, { mode: 'report', prompt }, { jobId })
  try {
    for (let chapter = Number(job.progress); chapter < CHAPTERS; chapter++) {
      const text = await writeChapter(prompt, chapter, aiJob.signal)
      await aiJob.progress({ delta: text })
      await job.updateProgress(chapter + 1)
    }
    await aiJob.complete({ mode: 'report', chapters: CHAPTERS })
  } catch (error) {
    if (aiJob.signal.aborted) {
      await aiJob.error({ message: 'the job was cancelled', type: 'cancelled' })
      throw new UnrecoverableError('cancelled')
    }
    // Before the next attempt, no process runs the job, so that this one may close.
    if (job.attemptsMade + 1 < attempts) await aiJob.transfer()
    else await aiJob.error(error as Error)
    throw error
  }
}

/** Stands in for a model: replace it with a call of your SDK. */
async function * write (prompt: string, signal: AbortSignal): AsyncGenerator<string> {
  for (const word of `This is an answer to: ${prompt}`.split(/(?<= )/)) {
    await sleep(1000 / WORDS_PER_SECOND, undefined, { signal })
    yield word
  }
}

/** Stands in for a model that is sometimes overloaded. */
async function writeChapter (prompt: string, chapter: number, signal: AbortSignal): Promise<string> {
  let text = ''
  for await (const word of write(`${prompt}, chapter ${chapter + 1}.\n`, signal)) text += word
  if (Math.random() < FAILURE_RATE) throw new Error('the model is overloaded')
  return text
}

// When a worker dies, another one takes over its jobs of the kind `report` within 15 seconds. That is less than the lease of a
// publisher (30 seconds), so that clients do not see them as stalled.
const lockDuration = 10_000
const workers = [
  new Worker('answers', answer, { connection, concurrency: 10, maxStalledCount: 0, lockDuration }),
  new Worker('reports', report, { connection, concurrency: 10, maxStalledCount: 10, lockDuration, stalledInterval: lockDuration / 2 })
]
for (const worker of workers) worker.on('error', (error) => { console.error(error.message) })

for (const signal of ['SIGINT', 'SIGTERM']) {
  process.once(signal, () => {
    // Each worker ends its current attempts first.
    void Promise.all(workers.map((worker) => worker.close())).then(() => publisher.close())
  })
}
console.log('waiting for jobs')
