import { setTimeout as sleep } from 'node:timers/promises'

/** Waits for what tells nobody when it happens, such as a counter of Node's. The test's own time limit ends it. */
export async function until (condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!await condition()) await sleep(5)
}
