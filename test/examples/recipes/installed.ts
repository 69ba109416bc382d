import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

/** The folder of the recipes. They have a lock file of their own. */
export const RECIPES = fileURLToPath(new URL('../../../examples/', import.meta.url))

function areRecipesInstalled (): boolean {
  return existsSync(`${RECIPES}node_modules/.package-lock.json`)
}

/** For a test's `skip`: why it can't run here, or false. */
export const noRecipes: string | false = !areRecipesInstalled() && 'the recipes are not installed: npm run setup'
