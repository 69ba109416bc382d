import { spawnSync } from 'node:child_process'
import { noRecipes, RECIPES } from './installed.js'

// A part of `npm run typecheck`: the recipes with a page, each with the type checker of its framework.

if (noRecipes === false) {
  const { status } = spawnSync('npm', ['run', '--silent', 'typecheck', '--workspaces', '--if-present'], { cwd: RECIPES, stdio: 'inherit' })
  process.exitCode = status ?? 1
} else {
  process.stdout.write(`The pages of the recipes are not type-checked: ${noRecipes}\n`)
}
