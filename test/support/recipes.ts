import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { cpSync, existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

/** The folder of the recipes. They have a lock file of their own. */
export const RECIPES = fileURLToPath(new URL('../../examples/recipes/', import.meta.url))

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const INSTALLED = `${RECIPES}node_modules/.package-lock.json`

/** The recipes' copy of this package. It is not a link, so that Fastify and React exist only once. */
const COPY = `${RECIPES}node_modules/ai-canvas-ws/`
/** File with the digest of the sources that the copy was built from. */
const STAMP = `${COPY}.sources`

export function areRecipesInstalled (): boolean {
  return existsSync(INSTALLED)
}

/** Returns whether the installed packages are older than the lock file. */
export function areRecipesOutdated (): boolean {
  return !areRecipesInstalled() || statSync(INSTALLED).mtimeMs < statSync(`${RECIPES}package-lock.json`).mtimeMs
}

/** Returns whether the copy was built from other sources than the current ones. */
export function isCopyOutdated (): boolean {
  return !existsSync(STAMP) || readFileSync(STAMP, 'utf8') !== digestOfSources()
}

/** Installs the packages of the lock file. npm packs a folder without running `prepack`, so this builds the package first. */
export function installRecipes (): void {
  build()
  spawnSync('npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error'], { cwd: RECIPES, stdio: 'inherit' })
  if (areRecipesInstalled()) writeFileSync(STAMP, digestOfSources())
}

/** Builds the package and updates the copy, if it is outdated. Takes a few seconds. */
export function renewCopy (): void {
  if (!isCopyOutdated()) return
  build()
  for (const name of ['dist', 'package.json']) {
    rmSync(COPY + name, { recursive: true, force: true })
    cpSync(ROOT + name, COPY + name, { recursive: true })
  }
  writeFileSync(STAMP, digestOfSources())
}

function digestOfSources (): string {
  const sources = readdirSync(`${ROOT}lib`, { recursive: true, encoding: 'utf8' }).filter((name) => /\.(?:ts|json)$/.test(name)).sort()
  const hash = createHash('sha256')
  for (const name of ['package.json', ...sources.map((name) => `lib/${name}`)]) hash.update(name).update(readFileSync(ROOT + name))
  return hash.digest('hex')
}

function build (): void {
  spawnSync('npm', ['run', '--silent', 'build'], { cwd: ROOT, stdio: 'inherit' })
}
