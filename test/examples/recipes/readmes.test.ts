import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { RECIPES } from '../../support/recipes.js'

const GENERATED = /^(?:node_modules|dist|\.next)\b/

function filesOf (recipe: string): string[] {
  return readdirSync(join(RECIPES, recipe), { recursive: true, withFileTypes: true, encoding: 'utf8' })
    .filter((entry) => entry.isFile() && !GENERATED.test(join(entry.parentPath, entry.name).slice(join(RECIPES, recipe).length + 1)))
    .map((entry) => join(entry.parentPath, entry.name))
}

const recipes = readdirSync(RECIPES, { withFileTypes: true }).filter((entry) => entry.isDirectory() && entry.name !== 'node_modules').map(({ name }) => name)
const list = readFileSync(join(RECIPES, 'README.md'), 'utf8')

for (const recipe of recipes) {
  t.test(`the README of the recipe ${recipe}`, async (t) => {
    const files = filesOf(recipe)
    const readme = readFileSync(join(RECIPES, recipe, 'README.md'), 'utf8')
    const code = files.filter((file) => !file.endsWith('.md')).map((file) => readFileSync(file, 'utf8')).join('\n')
    const settings = join(RECIPES, recipe, 'package.json')
    const { scripts = {} } = existsSync(settings) ? JSON.parse(readFileSync(settings, 'utf8')) as { scripts?: Record<string, string> } : {}

    t.match(list, `](${recipe})`, 'the recipe is in the table')
    t.ok(readme.split('\n').length <= 60, 'it is short')
    for (const [, language, block = ''] of readme.matchAll(/^```(\w+)\n(.*?)^```/gms)) {
      for (const line of block.trim().split('\n')) {
        if (language === 'sh' || language === 'text') continue
        t.ok(code.includes(line.trim()), `the code holds: ${line.trim()}`)
      }
    }
    for (const [, run, name = ''] of readme.matchAll(/npm (run )?(start|(?<=run )[\w:]+)/g)) {
      t.ok(name in scripts, `npm ${run ?? ''}${name} is a script`)
    }
    for (const [, name = ''] of readme.matchAll(/`([\w/-]+\.(?:vue|svelte|js|tsx?|svelte\.ts|py))`/g)) {
      t.ok(files.some((file) => file.endsWith(`/${name}`)), `${name} is a file`)
    }
  })
}
