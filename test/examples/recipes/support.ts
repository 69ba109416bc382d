import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import type { Test } from 'tap'
import { NOT_MEASURED } from '../../support/child.js'
import { until } from '../../support/until.js'
import { areRecipesInstalled, areRecipesOutdated, isCopyOutdated, RECIPES } from '../../support/recipes.js'

/** Why the recipes are not run, or false. For the option `skip` of a test. */
export function whyNot (): string | false {
  if (!areRecipesInstalled()) return 'the recipes are not installed: npm run setup'
  return (areRecipesOutdated() || isCopyOutdated()) && 'what the recipes have installed is outdated: npm run setup'
}

export interface Recipe {
  /** Where it listens, `http://127.0.0.1:<port>`. */
  readonly url: string
  /** The same for a WebSocket on `/ws`. */
  readonly ws: string
  readonly port: string
  /** Everything that it wrote so far. */
  readonly output: string
  readonly ended: Promise<Ended>
  /** Resolves when the process has ended. SIGKILL unless another signal is given: the recipes have no signal handlers. */
  readonly stop: (signal?: NodeJS.Signals) => Promise<Ended>
}

interface Ended { code: number | null, signal: NodeJS.Signals | null, output: string }

/** The command of a recipe's script. Run by this Node.js: npm and the command of tsx would stand between it and our signals. */
function commandOf (name: string, script: string): string[] {
  const { scripts } = JSON.parse(readFileSync(`${RECIPES}${name}/package.json`, 'utf8')) as { scripts: Record<string, string> }
  const [program, ...args] = (scripts[script] ?? '').split(' ')
  if (program === 'tsx') return ['--import=tsx', ...args]
  if (program === 'node') return args
  throw new Error(`${name}: the script "${script}" must run tsx or node`)
}

export interface Program {
  /** Everything that it wrote, and what of that went to stdout. */
  readonly output: string
  readonly stdout: string
  readonly ended: Promise<Ended>
  readonly stop: (signal?: NodeJS.Signals) => Promise<Ended>
  /** Resolves with the first line of stdout that matches, also one that was written before. Rejects when there is none to come. */
  readonly line: (pattern: RegExp) => Promise<RegExpExecArray>
  /** Resolves when its stdout matches, for a program that does not write in lines. */
  readonly wrote: (pattern: RegExp) => Promise<void>
}

/** Runs a recipe's script. Only what is in `env` differs from a new terminal. */
export function runRecipe (t: Test, name: string, env: NodeJS.ProcessEnv = {}, { script = 'start', args = [] }: { script?: string, args?: string[] } = {}): Program {
  return runProgram(t, process.execPath, [...commandOf(name, script), ...args], name, env)
}

export function runProgram (t: Test, command: string, args: string[], name: string, env: NodeJS.ProcessEnv = {}): Program {
  const inherited = Object.entries(process.env).filter(([key]) => !/^(?:NODE_OPTIONS|NODE_ENV|PORT|.*_API_KEY|.*_BASE_URL)$/.test(key))
  const child = spawn(command, args, { cwd: `${RECIPES}${name}`, env: { ...Object.fromEntries(inherited), ...NOT_MEASURED, ...env } })
  let output = ''
  let stdout = ''
  let isOver = false
  const lines: string[] = []
  const wake = new Set<() => void>()
  child.stderr.setEncoding('utf8').on('data', (text: string) => { output += text })
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text
    stdout += text
  })
  createInterface(child.stdout).on('line', (line) => {
    lines.push(line)
    for (const look of wake) look()
  })
  const ended = once(child, 'close').then(([code, signal]): Ended => {
    isOver = true
    for (const look of wake) look()
    return { code: code as number | null, signal: signal as NodeJS.Signals | null, output }
  })
  const stop = (signal: NodeJS.Signals = 'SIGKILL'): Promise<Ended> => {
    child.kill(signal)
    return ended
  }
  t.teardown(() => stop())
  return {
    get output () { return output },
    get stdout () { return stdout },
    ended,
    stop,
    wrote: (pattern) => until(() => {
      if (isOver && !pattern.test(stdout)) throw new Error(`${name} ended without ${pattern}: ${output}`)
      return pattern.test(stdout)
    }),
    line: (pattern) => new Promise((resolve, reject) => {
      const look = (): void => {
        const match = lines.map((line) => pattern.exec(line)).find((match) => match !== null)
        if (match !== undefined) resolve(match)
        else if (isOver) reject(new Error(`${name} ended without ${pattern}: ${output}`))
        else return
        wake.delete(look)
      }
      wake.add(look)
      look()
    })
  }
}

/** Starts a recipe's server as its README does, on a free port unless `env` has a `PORT`. Stopped when the test ends. */
export async function startRecipe (t: Test, name: string, env: NodeJS.ProcessEnv = {}): Promise<Recipe> {
  const program = runRecipe(t, name, { PORT: '0', ...env })
  const [, port = ''] = await program.line(/Server listening at http:\/\/127\.0\.0\.1:(\d+)/)
  const url = `http://127.0.0.1:${port}`
  return { url, ws: `${url.replace('http', 'ws')}/ws`, port, ended: program.ended, stop: program.stop, get output () { return program.output } }
}

export interface Answer { status: number, body: Record<string, unknown> }

export async function post (url: string, body: object, headers: Record<string, string> = {}): Promise<Answer> {
  const response = await fetch(url, { method: 'POST', headers: { 'content-type': 'application/json', ...headers }, body: JSON.stringify(body) })
  const text = await response.text()
  return { status: response.status, body: text === '' ? {} : JSON.parse(text) as Record<string, unknown> }
}
