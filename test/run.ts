import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readFileSync, rmSync } from 'node:fs'

// `npm test`: tap, and after it one plain line that says how it went, for those who read a log from its end. Arguments go
// to tap: `npm test -- --disable-coverage test/unit/clock.test.ts`.

const RESULTS = '.tap/results.tap'

const args = process.argv.slice(2)
// At a desk a part may be missing; where nobody looks, a test that did not run is one that failed.
if (process.env.CI === 'true') args.push('--fail-skip', '--fail-todo')

const { code, results } = process.stdout.isTTY ? await drawn() : await plain()
process.stdout.write(`${closingLine(results, code === 0)}\n`)
process.exitCode = code ?? 1

interface Run { code: number | null, results: string }

/** On a terminal tap draws, and what it says goes into a file. */
async function drawn (): Promise<Run> {
  mkdirSync('.tap', { recursive: true })
  rmSync(RESULTS, { force: true })
  const child = spawn('tap', [...args, `--output-file=${RESULTS}`], { stdio: 'inherit' })
  const [code] = await once(child, 'close') as [number | null]
  return { code, results: readFileSync(RESULTS, 'utf8') }
}

/** In a log it writes what it says. With a file beside it, it would write everything twice. */
async function plain (): Promise<Run> {
  const child = spawn('tap', args, { stdio: ['ignore', 'pipe', 'inherit'] })
  let results = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    results += text
    process.stdout.write(text)
  })
  const [code] = await once(child, 'close') as [number | null]
  return { code, results }
}

/** Of a whole run's TAP: its last lines say `# { total: 7, pass: 6, fail: 1 }` and `# time=13021.001ms`. */
function closingLine (results: string, passed: boolean): string {
  const totals = /^# \{ (.*) \}$/m.exec(results)?.[1] ?? ''
  const count = (name: string): number => Number(new RegExp(`\\b${name}: (\\d+)`).exec(totals)?.[1] ?? 0)
  const files = results.match(/^(?:not )?ok \d+ - /gm)?.length ?? 0
  const seconds = Math.round(Number(/^# time=([\d.]+)ms$/m.exec(results)?.[1] ?? 0) / 1000)
  const why = passed || count('fail') > 0 ? '' : ', coverage is not complete, or nothing ran'
  return `${passed ? 'PASS' : 'FAIL'}: ${count('total')} assertions in ${files} files, ${count('pass')} passed, ${
    count('fail')} failed, ${count('skip') + count('todo')} not run${why}, ${seconds} s`
}
