import type { AISource, WebSocketManager } from 'ai-canvas-ws'
import type { Random } from '../random.js'
import { broken } from './channel.js'
import { oddAnswer, oddError, oddValue, rejected } from './odd-values.js'

type Loose = (...args: unknown[]) => unknown

/** Methods of the manager to call with arguments that its types forbid. Each must return a promise, whatever its arguments are. */
const CALLS = [
  'notifyAIStart', 'notifyAIProgress', 'notifyAIComplete', 'notifyAIError', 'broadcastToSession', 'broadcastToUser', 'broadcast', 'revoke', 'cancelAI'
] as const

const TIMEOUT_MS = 20_000

/** Waits for a promise, which must settle. If it rejects, it must do so with an error of this package. */
async function settled (what: string, promise: unknown): Promise<void> {
  if (!(promise instanceof Promise)) {
    broken('a notification returns a promise', what)
    return
  }
  let timer: NodeJS.Timeout | undefined
  await Promise.race([
    promise.catch((error: unknown) => {
      const { code } = (error ?? {}) as { code?: unknown }
      if (typeof code !== 'string' || !code.startsWith('AICW_ERR_')) broken('a notification rejects with an error of this package', error)
    }),
    new Promise<void>((resolve) => {
      timer = setTimeout(() => {
        broken('every notification settles', what)
        resolve()
      }, TIMEOUT_MS)
    })
  ])
  clearTimeout(timer)
}

/** Makes one call with unexpected arguments. */
export async function oddCall (manager: WebSocketManager, random: Random): Promise<void> {
  const name = random.pick(CALLS)
  const id = random.chance(0.6) ? `odd:${random.below(20)}` : oddValue(random)
  const options = random.chance(0.7) ? undefined : random.chance(0.5) ? { jobId: random.chance(0.5) ? 'job' : oddValue(random), durable: oddValue(random) } : oddValue(random)
  const args = name === 'broadcast' ? [oddValue(random)] : name === 'cancelAI' ? [id, options] : name === 'revoke' ? [id, oddValue(random)] : [id, oddValue(random), options]
  let promise: unknown
  try {
    promise = (manager[name] as Loose).apply(manager, args)
  } catch (error) {
    broken(`${name} never throws`, error)
    return
  }
  // Half of the promises are not awaited, because an app need not await them.
  if (random.chance(0.5)) await settled(name, promise)
}

/** Passes unexpected messages to a batcher. Only `push` may throw. */
export function oddBatcher (manager: WebSocketManager, random: Random): void {
  try {
    const batcher = manager.createBatcher('odd:batch', { intervalMs: 5 })
    for (let i = random.below(5); i > 0; i--) {
      try {
        ;(batcher.push as Loose)(oddValue(random))
      } catch { /* it may refuse the message */ }
    }
    batcher.close()
  } catch (error) {
    broken('a batcher is made and closed', error)
  }
}

/** Returns a misbehaving source of chunks. */
function oddSource (random: Random): unknown {
  return random.pick<() => unknown>([
    () => oddValue(random), () => ['a', 'b', oddValue(random)], () => rejected(oddError(random)), () => Promise.resolve(oddValue(random)),
    () => ({ [Symbol.asyncIterator]: () => oddAnswer(random) }),
    () => ({ [Symbol.asyncIterator]: () => ({ next: () => oddAnswer(random), return: () => oddAnswer(random) }) }),
    () => ({ [Symbol.iterator]: () => ({ next: () => oddValue(random), return: () => oddValue(random) }) }),
    () => new ReadableStream({ pull: (controller) => { if (random.chance(0.3)) controller.error(oddError(random)); else controller.enqueue(oddValue(random)) } }),
    async function * () { yield 'text'; yield oddValue(random); throw oddError(random) },
    () => (async function * () { yield 'text'; yield oddValue(random); throw oddError(random) })()
  ])()
}

/** Starts a job correctly and ends it like a faulty app, with an unexpected value. Whatever the value is, the job must have ended then. */
export async function oddEnd (manager: WebSocketManager, random: Random, sessionId: string): Promise<void> {
  const value = random.chance(0.5) ? oddValue(random) : oddError(random)
  const calls = manager as unknown as Record<string, Loose>
  const end = random.pick(['notifyAIComplete', 'notifyAIError'] as const)
  switch (random.weighted({ plain: 4, jobId: 2, handle: 3, tracked: 3 })) {
    case 'plain': {
      await manager.notifyAIStart(sessionId, { prompt: 'x' })
      if (random.chance(0.5)) void calls.notifyAIProgress!(sessionId, oddValue(random))
      await settled(end, calls[end]!(sessionId, value))
      break
    }
    case 'jobId': {
      await manager.notifyAIStart(sessionId, { prompt: 'x' }, { jobId: 'mine' })
      await settled(end, calls[end]!(sessionId, value, { jobId: 'mine' }))
      break
    }
    case 'handle': {
      const job = manager.startAI(sessionId, { prompt: 'x' }) as unknown as Record<'progress' | 'complete' | 'error', Loose>
      void job.progress(oddValue(random))
      await settled('a handle', random.chance(0.5) ? job.complete(value) : job.error(value))
      break
    }
    case 'tracked': await oddTrack(manager, random, sessionId)
  }
}

async function oddTrack (manager: WebSocketManager, random: Random, sessionId: string): Promise<void> {
  const controller = new AbortController()
  const options = {
    signal: controller.signal,
    throttleMs: random.pick([0, 5, Infinity]),
    text: random.pick<unknown>([true, false, () => oddAnswer(random)]) as boolean,
    ...random.chance(0.5) ? { result: () => oddAnswer(random) as Record<string, unknown> } : {}
  }
  // Aborts a source that never yields.
  const timer = setTimeout(() => { controller.abort() }, 200)
  try {
    let read = 0
    for await (const chunk of manager.trackAI(sessionId, { prompt: 'x' }, oddSource(random) as AISource<unknown>, options)) {
      if (chunk !== undefined && ++read > 5) break
    }
  } catch { /* an error of the source reaches its reader */ }
  clearTimeout(timer)
}
