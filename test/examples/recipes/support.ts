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

interface Ended { code: number | null, signal: NodeJS.Signals | null, output: string }

/** The command of a recipe's script. npm, and the command of tsx, would stand between the program and our signals. */
function commandOf (name: string, script: string): string[] {
  const { scripts } = JSON.parse(readFileSync(`${RECIPES}${name}/package.json`, 'utf8')) as { scripts: Record<string, string | undefined> }
  const [program, ...args] = scripts[script]?.split(' ') ?? []
  if (program === undefined) throw new Error(`${name} has no script "${script}"`)
  if (program === 'tsx') return [process.execPath, '--import=tsx', ...args]
  return [program === 'node' ? process.execPath : program, ...args]
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

interface Script {
  /** Of the recipe's package.json. @default 'start' */
  readonly script?: string
  /** More arguments for it. */
  readonly args?: readonly string[]
}

/** Runs a recipe's script. Only what is in `env` differs from a new terminal. */
export function runRecipe (t: Test, name: string, env: NodeJS.ProcessEnv = {}, { script = 'start', args = [] }: Script = {}): Program {
  const [program = '', ...given] = commandOf(name, script)
  return runProgram(t, program, [...given, ...args], name, env)
}

/** Runs the recipe's script `build`. */
export async function buildRecipe (t: Test, name: string): Promise<void> {
  const { code, output } = await runRecipe(t, name, {}, { script: 'build' }).ended
  if (code !== 0) throw new Error(`"npm run build" of ${name} ended with ${code}: ${output}`)
}

const ofThisTerminal = (key: string): boolean => /^(?:NODE_OPTIONS|NODE_ENV|FORCE_COLOR|PORT|.*_API_KEY|.*_BASE_URL)$/.test(key)

export function runProgram (t: Test, command: string, args: readonly string[], name: string, env: NodeJS.ProcessEnv = {}): Program {
  const child = spawn(command, args, {
    cwd: `${RECIPES}${name}`,
    env: {
      ...Object.fromEntries(Object.entries(process.env).filter(([key]) => !ofThisTerminal(key))),
      PATH: [`${RECIPES}${name}/node_modules/.bin`, `${RECIPES}node_modules/.bin`, process.env.PATH].join(':'),
      NO_COLOR: '1',
      NEXT_TELEMETRY_DISABLED: '1',
      ...NOT_MEASURED,
      ...env
    }
  })
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

/** A server of a recipe. */
export interface Recipe {
  /** Where it listens, such as `http://127.0.0.1:<port>`. */
  readonly url: string
  /** The same for a WebSocket on `/ws`. */
  readonly ws: string
  /** Everything that it wrote since it was started. */
  readonly output: string
  /** Ends it, by SIGKILL unless another signal is given: a crash. Resolves when the process has ended. */
  readonly stop: (signal?: NodeJS.Signals) => Promise<Ended>
  /** Starts it again, on the same port, with these changes of its environment. */
  readonly start: (changes?: NodeJS.ProcessEnv) => Promise<void>
}

/** Starts a recipe's server as its README does, on a free port unless `env` has a `PORT`. Stopped when the test ends. */
export async function startRecipe (t: Test, name: string, env: NodeJS.ProcessEnv = {}, script: Script = {}): Promise<Recipe> {
  const given: NodeJS.ProcessEnv = { PORT: '0', ...env }
  let program = runRecipe(t, name, given, script)
  const listening = async (): Promise<string> => (await program.line(/http:\/\/(?:127\.0\.0\.1|localhost):\d+/))[0]
  const url = await listening()
  return {
    url,
    ws: `${url.replace('http', 'ws')}/ws`,
    get output () { return program.output },
    stop: (signal) => program.stop(signal),
    async start (changes) {
      Object.assign(given, { PORT: new URL(url).port }, changes)
      program = runRecipe(t, name, given, script)
      await listening()
    }
  }
}

export interface Answer { status: number, body: Record<string, unknown> }

export async function post (url: string, body: object, headers: Record<string, string> = {}): Promise<Answer> {
  const response = await fetch(url, { method: 'POST', headers: { 'content-type': 'application/json', ...headers }, body: JSON.stringify(body) })
  const text = await response.text()
  return { status: response.status, body: text === '' ? {} : JSON.parse(text) as Record<string, unknown> }
}
