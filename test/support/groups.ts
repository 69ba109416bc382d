import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const FOLDER = '.tap/groups'

/** Folders whose files share processes. Files in other folders change global state, or are few and slow. */
const SHARED = ['test/docs', 'test/examples/canvas', 'test/integration', 'test/sdks', 'test/unit']

/** Maximum number of files in a group. With more, there would be too few processes for several jobs. */
const FILES_PER_GROUP = 8

/**
 * Returns the paths for tap: test files that need their own process, and groups of files that share one. Starting a process
 * takes longer than running the tests of most files.
 */
export function groupedTests (): string[] {
  const files = readdirSync(`${ROOT}test`, { recursive: true, encoding: 'utf8' })
    .filter((path) => /\.test\.tsx?$/.test(path) && !path.includes('node_modules')).map((path) => `test/${path}`).sort()
  const alone = files.filter((file) => !SHARED.some((folder) => file.startsWith(`${folder}/`)))
  rmSync(ROOT + FOLDER, { recursive: true, force: true })
  mkdirSync(ROOT + FOLDER, { recursive: true })
  return [...alone, ...SHARED.flatMap((folder) => groupsOf(folder, files.filter((file) => file.startsWith(`${folder}/`))))]
}

function groupsOf (folder: string, files: readonly string[]): string[] {
  const count = Math.ceil(files.length / FILES_PER_GROUP)
  return Array.from({ length: count }, (_, index) => {
    const path = `${FOLDER}/${folder.replace('test/', '').replace('/', '-')}-${index + 1}.test.mjs`
    // Each group takes every count-th file, because adjacent files are often slow for the same reason.
    const group = files.filter((_file, at) => at % count === index)
    writeFileSync(ROOT + path, `import { runGroup } from '../../test/loader/group.mjs'\n\nawait runGroup(${JSON.stringify(group, null, 2)})\n`)
    return path
  })
}
