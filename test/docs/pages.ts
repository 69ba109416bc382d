import { readdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { Page } from './markdown.js'

const root = fileURLToPath(new URL('../../', import.meta.url))

/** Folders without pages of this repository: installed packages, and copies of third-party documents. */
const skipped = new Set(['node_modules', 'test/fixtures', 'test/support'])

function * pagesIn (folder: string, isRecursive = true): Generator<string> {
  for (const entry of readdirSync(root + folder, { withFileTypes: true })) {
    const path = folder + entry.name
    if (entry.isFile() && path.endsWith('.md')) yield path
    else if (isRecursive && entry.isDirectory() && !skipped.has(entry.name) && !skipped.has(path)) yield * pagesIn(`${path}/`)
  }
}

const paths = [...pagesIn('', false), ...['.github/', 'examples/', 'lib/', 'test/'].flatMap((folder) => [...pagesIn(folder)])]

/** Every page of the repository, by its path. */
export const pages: ReadonlyMap<string, Page> = new Map(paths.map((path) => [path, new Page(path)]))
