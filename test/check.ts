import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { areRecipesInstalled, renewCopy } from './support/recipes.js'

// `npm run check` runs the static checks. The linter takes as long as all the others together, so it runs in parallel with them.

const CHAINS = [['lint'], ['typecheck', 'build', 'gates', 'size', 'docs']]

/**
 * Runs a script of package.json and returns whether it passed. Its output is printed when it has ended, so that the outputs of
 * two scripts never mix.
 */
async function passes (script: string): Promise<boolean> {
  const since = performance.now()
  const child = spawn('npm', ['run', '--silent', script], { stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text: string) => { output += text })
  const [code] = await once(child, 'close') as [number | null]
  const seconds = ((performance.now() - since) / 1000).toFixed(1).padStart(6)
  process.stdout.write(`${code === 0 ? 'ok  ' : 'FAIL'} ${seconds} s  npm run ${script}\n${output}`)
  return code === 0
}

// The linter reads the types of this copy.
if (areRecipesInstalled()) renewCopy()
const outcomes = await Promise.all(CHAINS.map(async (scripts) => {
  for (const script of scripts) if (!await passes(script)) return false
  return true
}))
process.exitCode = outcomes.every(Boolean) ? 0 : 1
