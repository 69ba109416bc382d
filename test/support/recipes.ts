import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { cpSync, existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

/** The folder of the recipes. They have a lock file of their own. */
export const RECIPES = fileURLToPath(new URL('../../examples/recipes/', import.meta.url))

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const INSTALLED = `${RECIPES}node_modules/.package-lock.json`

/** This package as the recipes have it: packed and copied, so that there is one Fastify and one React. */
const COPY = `${RECIPES}node_modules/ai-canvas-ws/`
/** Says from which sources the copy was built. */
const STAMP = `${COPY}.sources`

export function areRecipesInstalled (): boolean {
  return existsSync(INSTALLED)
}

/** Whether what is installed is older than the lock file. */
export function areRecipesOutdated (): boolean {
  return !areRecipesInstalled() || statSync(INSTALLED).mtimeMs < statSync(`${RECIPES}package-lock.json`).mtimeMs
}

/** Whether the recipes have another `lib` than this one. */
export function isCopyOutdated (): boolean {
  return !existsSync(STAMP) || readFileSync(STAMP, 'utf8') !== digestOfSources()
}

/** Installs what the lock file says. npm packs a folder without its `prepack` script, so the package is built first. */
export function installRecipes (): void {
  build()
  spawnSync('npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error'], { cwd: RECIPES, stdio: 'inherit' })
  if (areRecipesInstalled()) writeFileSync(STAMP, digestOfSources())
}

/** Gives the recipes this `lib`, in a few seconds, unless they have it. */
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
