import { spawnSync } from 'node:child_process'
import { cpSync, existsSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

/** The folder of the recipes. They have a lock file of their own. */
export const RECIPES = fileURLToPath(new URL('../../examples/recipes/', import.meta.url))

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const INSTALLED = `${RECIPES}node_modules/.package-lock.json`

/** This package as the recipes have it: packed and copied, so that there is one Fastify and one React. */
const COPY = `${RECIPES}node_modules/ai-canvas-ws/`

export function areRecipesInstalled (): boolean {
  return existsSync(INSTALLED)
}

/** Whether what is installed is older than the lock file. */
export function areRecipesOutdated (): boolean {
  return !areRecipesInstalled() || statSync(INSTALLED).mtimeMs < statSync(`${RECIPES}package-lock.json`).mtimeMs
}

/** Whether the recipes have another `lib` than this one. */
export function isCopyOutdated (): boolean {
  const sources = readdirSync(`${ROOT}lib`, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.ts'))
  return sources.map((name) => `lib/${name}`).some((name) =>
    !existsSync(COPY + name) || !readFileSync(ROOT + name).equals(readFileSync(COPY + name)))
}

/** Installs what the lock file says. npm packs a folder without its `prepack` script, so the package is built first. */
export function installRecipes (): void {
  build()
  spawnSync('npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error'], { cwd: RECIPES, stdio: 'inherit' })
}

/** Gives the recipes this `lib`, in a few seconds. */
export function renewCopy (): void {
  build()
  for (const name of ['dist', 'lib', 'package.json']) {
    rmSync(COPY + name, { recursive: true, force: true })
    cpSync(ROOT + name, COPY + name, { recursive: true })
  }
}

function build (): void {
  spawnSync('npm', ['run', '--silent', 'build'], { cwd: ROOT, stdio: 'inherit' })
}
