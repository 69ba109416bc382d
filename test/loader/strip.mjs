import { createHash } from 'node:crypto'
import { mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'

// Every test file runs in a process of its own. Loading the TypeScript compiler takes a second, so its output is cached.

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const CACHE = `${ROOT}node_modules/.cache/stripped/`
const { version } = createRequire(import.meta.url)('ts-blank-space/package.json')

/**
 * Returns the JavaScript of a TypeScript source: spaces take the place of types. Code stays where it was, so coverage and
 * stack traces need no source maps, which blur which branch ran.
 */
export async function strip (source) {
  const file = `${CACHE}${createHash('sha256').update(version).update(source).digest('hex')}.js`
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    if (error.code !== 'ENOENT') throw error
  }
  const { default: blank } = await import('ts-blank-space')
  const code = blank(source, (node) => { throw new SyntaxError(`not erasable: ${node.getText()}`) })
  mkdirSync(CACHE, { recursive: true })
  // Renamed into place: another process never reads half a file.
  const draft = `${file}.${process.pid}`
  writeFileSync(draft, code)
  renameSync(draft, file)
  return code
}

/** Fills the cache with all sources of the repository. */
export async function stripAll () {
  for (const folder of ['lib', 'test', 'examples']) await stripFolder(ROOT + folder)
}

async function stripFolder (folder) {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = `${folder}/${entry.name}`
    if (entry.name === 'node_modules') continue
    if (entry.isDirectory()) await stripFolder(path)
    else if (path.endsWith('.ts')) await strip(readFileSync(path, 'utf8'))
  }
}
