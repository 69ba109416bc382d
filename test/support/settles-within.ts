import { setTimeout as sleep } from 'node:timers/promises'

const STEP_MS = 50

/**
 * Returns whether work settles before this process has run for the given time. A turn of the event loop that other processes
 * delay counts as one step, however long it takes. A plain timer would mistake a busy machine for slow code.
 */
export async function settlesWithin (ms: number, work: PromiseLike<unknown>): Promise<boolean> {
  const settled = Promise.resolve(work).then(() => true, () => true)
  for (let passed = 0; passed < ms; passed += STEP_MS) {
    if (await Promise.race([settled, sleep(STEP_MS, false)])) return true
  }
  return false
}
