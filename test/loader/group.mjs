import { pathToFileURL } from 'node:url'
import t from 'tap'

// Runs several test files in one process. Starting a process, loading Fastify and collecting the coverage takes longer than the
// tests of most files. In a group, the `t` that a file imports is a subtest of its own.

/** The subtests of the files, by URL. */
const tests = new Map()

/** Returns the `t` of a file. The loader generates a module that calls this function. */
export function fileTest (url) {
  return tests.get(url)
}

/** Time limit for one file, the same as tap's limit for a process. */
const TIMEOUT_MS = 600_000

/** Runs test files one after the other. Paths are relative to the working directory. */
export async function runGroup (paths) {
  t.setTimeout(paths.length * TIMEOUT_MS)
  for (const path of paths) {
    await t.test(path, { timeout: TIMEOUT_MS }, async (t) => {
      const { href } = pathToFileURL(path)
      tests.set(href, t)
      await import(href)
    })
  }
}
