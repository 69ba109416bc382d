import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

setFlagsFromString('--expose-gc')
/** Runs the garbage collector. */
export const collect = runInNewContext('gc') as () => void

/** Returns the number of bytes in use on the heap and in buffers, after a garbage collection. */
export function memoryInUse (): number {
  collect()
  collect()
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}
