import { spawnSync } from 'node:child_process'
import { areRecipesInstalled, isCopyOutdated, RECIPES, renewCopy } from '../../support/recipes.js'

// The last part of `npm run typecheck`: the recipes, against the types of the package as it is built.

if (areRecipesInstalled()) {
  if (isCopyOutdated()) renewCopy()
  process.exitCode = spawnSync('tsc', ['-p', RECIPES], { stdio: 'inherit' }).status ?? 1
} else {
  process.stdout.write('The recipes are not type-checked, because their dependencies are missing: npm run setup\n')
}
