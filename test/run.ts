import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readFileSync, rmSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { createInterface } from 'node:readline'
import { stripAll } from './loader/strip.mjs'
import { groupedTests } from './support/groups.js'
import { areRecipesInstalled, renewCopy } from './support/recipes.js'
import { TapLog } from './support/tap-log.js'

// `npm test` runs tap and prints a summary of the result as its last line. Arguments are passed to tap:
// `npm test -- --disable-coverage test/unit/util/clock.test.ts`.

const RESULTS = '.tap/results.tap'

const args = process.argv.slice(2)
// On a developer's machine, a program may be missing. In CI, a test that did not run counts as failed.
if (process.env.CI === 'true') args.push('--fail-skip', '--fail-todo')

// Many tests wait for a deadline or a browser. With two more jobs than processors, other tests run in that time.
if (!args.some((arg) => /^(?:--jobs|-j)/.test(arg))) args.push(`--jobs=${availableParallelism() + 2}`)

if (args.every((arg) => arg.startsWith('-'))) args.push(...groupedTests())

// This is done once, because otherwise each test process would load the compiler.
await stripAll()
// The recipes run the built package.
if (areRecipesInstalled()) renewCopy()
const { code, results } = process.stdout.isTTY ? await drawn() : await plain()
process.stdout.write(`${closingLine(results, code === 0)}\n`)
process.exitCode = code ?? 1

interface Run { code: number | null, results: string }

/** Runs tap on a terminal, where it draws its own report. tap writes its TAP into a file. */
async function drawn (): Promise<Run> {
  mkdirSync('.tap', { recursive: true })
  rmSync(RESULTS, { force: true })
  const child = spawn('tap', [...args, `--output-file=${RESULTS}`], { stdio: 'inherit' })
  const [code] = await once(child, 'close') as [number | null]
  return { code, results: readFileSync(RESULTS, 'utf8') }
}

/** Runs tap and prints one line per test file, as is suitable for a log. tap stores the whole TAP of each file in `.tap/test-results`. */
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

/** Returns the summary line. The last lines of a run's TAP are `# { total: 7, pass: 6, fail: 1 }` and `# time=13021.001ms`. */
function closingLine (results: string, passed: boolean): string {
  const totals = /^# \{ (.*) \}$/m.exec(results)?.[1] ?? ''
  const count = (name: string): number => Number(new RegExp(`\\b${name}: (\\d+)`).exec(totals)?.[1] ?? 0)
  const files = results.match(/^(?: {4})?(?:not )?ok \d+ - test\/\S+\.test\.tsx?\b/gm)?.length ?? 0
  const seconds = Math.round(Number(/^# time=([\d.]+)ms$/m.exec(results)?.[1] ?? 0) / 1000)
  const why = passed || count('fail') > 0 ? '' : ', coverage is not complete, or nothing ran'
  return `${passed ? 'PASS' : 'FAIL'}: ${count('total')} assertions in ${files} files, ${count('pass')} passed, ${
    count('fail')} failed, ${count('skip') + count('todo')} not run${why}, ${seconds} s`
}
