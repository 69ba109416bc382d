/** Resolves with the outcome of a promise, and the time until it settled in milliseconds. */
export async function timed (promise: Promise<unknown>): Promise<{ ms: number, error?: Error, value?: unknown }> {
  const since = performance.now()
  const outcome = await promise.then((value) => ({ value }), (error: unknown) => ({ error: error as Error }))
  return { ms: performance.now() - since, ...outcome }
}
