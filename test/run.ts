import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readFileSync, rmSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { createInterface } from 'node:readline'
import { stripAll } from './loader/strip.mjs'
import { groupedTests } from './support/groups.js'
import { areRecipesInstalled, renewCopy } from './support/recipes.js'
import { TapLog } from './support/tap-log.js'

// `npm test`: runs tap, and ends with one plain line that says how it went. Arguments go to tap:
// `npm test -- --disable-coverage test/unit/util/clock.test.ts`.

const RESULTS = '.tap/results.tap'

const args = process.argv.slice(2)
// On a developer's machine a program may be missing. In CI, a test that did not run is one that failed.
if (process.env.CI === 'true') args.push('--fail-skip', '--fail-todo')

// Many tests wait for a deadline or a browser: two jobs more than there are processors fill that time.
if (!args.some((arg) => /^(?:--jobs|-j)/.test(arg))) args.push(`--jobs=${availableParallelism() + 2}`)

if (args.every((arg) => arg.startsWith('-'))) args.push(...groupedTests())

// Here, once: otherwise each test file's process would load the compiler.
await stripAll()
// The recipes run the package as it is built.
if (areRecipesInstalled()) renewCopy()
const { code, results } = process.stdout.isTTY ? await drawn() : await plain()
process.stdout.write(`${closingLine(results, code === 0)}\n`)
process.exitCode = code ?? 1

interface Run { code: number | null, results: string }

/** On a terminal tap draws its own report, and writes its TAP into a file. */
async function drawn (): Promise<Run> {
  mkdirSync('.tap', { recursive: true })
  rmSync(RESULTS, { force: true })
  const child = spawn('tap', [...args, `--output-file=${RESULTS}`], { stdio: 'inherit' })
  const [code] = await once(child, 'close') as [number | null]
  return { code, results: readFileSync(RESULTS, 'utf8') }
}

/** A log gets a line per test file. tap leaves the whole TAP of each in `.tap/test-results`. */
async function plain (): Promise<Run> {
  const child = spawn('tap', args, { stdio: ['ignore', 'pipe', 'inherit'] })
  const closed = once(child, 'close') as Promise<[number | null]>
  const log = new TapLog()
  let results = ''
  for await (const line of createInterface(child.stdout)) {
    results += `${line}\n`
    for (const shown of log.take(line)) process.stdout.write(`${shown}\n`)
  }
  const [code] = await closed
  return { code, results }
}

/** The last lines of a run's TAP are `# { total: 7, pass: 6, fail: 1 }` and `# time=13021.001ms`. */
function closingLine (results: string, passed: boolean): string {
  const totals = /^# \{ (.*) \}$/m.exec(results)?.[1] ?? ''
  const count = (name: string): number => Number(new RegExp(`\\b${name}: (\\d+)`).exec(totals)?.[1] ?? 0)
  const files = results.match(/^(?: {4})?(?:not )?ok \d+ - test\/\S+\.test\.tsx?\b/gm)?.length ?? 0
  const seconds = Math.round(Number(/^# time=([\d.]+)ms$/m.exec(results)?.[1] ?? 0) / 1000)
  const why = passed || count('fail') > 0 ? '' : ', coverage is not complete, or nothing ran'
  return `${passed ? 'PASS' : 'FAIL'}: ${count('total')} assertions in ${files} files, ${count('pass')} passed, ${
    count('fail')} failed, ${count('skip') + count('todo')} not run${why}, ${seconds} s`
}
