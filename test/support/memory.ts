import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

setFlagsFromString('--expose-gc')
/** Lets go of everything that nobody holds. */
export const collect = runInNewContext('gc') as () => void

/** Bytes that are in use now, on the heap and in buffers, after everything that nobody holds has been let go of. */
export function memoryInUse (): number {
  collect()
  collect()
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}
