import { setTimeout as sleep } from 'node:timers/promises'

/**
 * Polls a condition until it is true. This is for conditions that emit no event, such as a counter of Node.js. The time limit
 * of the test ends the wait.
 */
export async function until (condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!await condition()) await sleep(5)
}
