import { pathToFileURL } from 'node:url'
import t from 'tap'

// Several test files in one process. To start a process, load Fastify in it and collect its coverage takes longer than most
// files need for their tests. In a group, what a file imports as `t` is its own subtest.

/** The subtests of the files, by URL. */
const tests = new Map()

/** The `t` of a file, for the loader. */
export function fileTest (url) {
  return tests.get(url)
}

/** Limit for one file, as tap's own for a process. */
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
