import { createHash } from 'node:crypto'
import { mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'

// Tests run in many processes. Loading the TypeScript compiler takes a second, so its output is cached.

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const CACHE = `${ROOT}node_modules/.cache/stripped/`
const { version } = createRequire(import.meta.url)('ts-blank-space/package.json')

/**
 * Returns the JavaScript of a TypeScript source, with its types replaced by spaces. The positions in the code do not change, so
 * coverage and stack traces need no source maps. With source maps, it would be unclear which branch ran.
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
  // The file is renamed into place, so that another process never reads half of it.
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
