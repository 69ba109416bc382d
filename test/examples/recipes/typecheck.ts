import { spawnSync } from 'node:child_process'
import { areRecipesInstalled, RECIPES, renewCopy } from '../../support/recipes.js'

// The last part of `npm run typecheck`: checks the recipes against the types of the built package. Recipes with a page or a screen
// use the type checker of their framework.

if (areRecipesInstalled()) {
  renewCopy()
  const commands = [['tsc', '-p', RECIPES], ['npm', 'run', '--silent', 'typecheck', '--workspaces', '--if-present']]
  const isRight = commands.every(([program = '', ...args]) => spawnSync(program, args, { cwd: RECIPES, stdio: 'inherit' }).status === 0)
  process.exitCode = isRight ? 0 : 1
} else {
  process.stdout.write('The recipes are not type-checked, because their dependencies are missing: npm run setup\n')
}
