import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import type { Test } from 'tap'
import { NOT_MEASURED } from '../../support/child.js'
import { until } from '../../support/until.js'
import { areRecipesInstalled, areRecipesOutdated, isCopyOutdated, RECIPES } from '../../support/recipes.js'

/** Returns why the recipes are not run, or false. For the option `skip` of a test. */
export function whyNot (): string | false {
  if (!areRecipesInstalled()) return 'the recipes are not installed: npm run setup'
  return (areRecipesOutdated() || isCopyOutdated()) && 'the packages of the recipes are outdated: npm run setup'
}

interface Ended { code: number | null, signal: NodeJS.Signals | null, output: string }

/** Returns the command of a recipe's script. Run through npm or the tsx command, the program would not get our signals. */
function commandOf (name: string, script: string): string[] {
  const { scripts } = JSON.parse(readFileSync(`${RECIPES}${name}/package.json`, 'utf8')) as { scripts: Record<string, string | undefined> }
  const [program, ...args] = scripts[script]?.split(' ') ?? []
  if (program === undefined) throw new Error(`${name} has no script "${script}"`)
  if (program === 'tsx') return [process.execPath, '--import=tsx', ...args]
  return [program === 'node' ? process.execPath : program, ...args]
}

export interface Program {
  /** The whole output, and its part on stdout. */
  readonly output: string
  readonly stdout: string
  readonly ended: Promise<Ended>
  readonly stop: (signal?: NodeJS.Signals) => Promise<Ended>
  /** Resolves with the first matching line of stdout, past or future. Rejects if the program ends without one. */
  readonly line: (pattern: RegExp) => Promise<RegExpExecArray>
  /** Resolves when stdout matches, for programs that do not write whole lines. */
  readonly wrote: (pattern: RegExp) => Promise<void>
}

interface Script {
  /** Script of the recipe's package.json. @default 'start' */
  readonly script?: string
  /** More arguments for it. */
  readonly args?: readonly string[]
}

/** Runs a recipe's script as in a new terminal, with `env` added. */
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
  /** Output since the last start. */
  readonly output: string
  /** Ends the process with a signal. Resolves when it has ended. @default 'SIGKILL', like a crash */
  readonly stop: (signal?: NodeJS.Signals) => Promise<Ended>
  /** Starts the server again on the same port, with these changes to its environment. */
  readonly start: (changes?: NodeJS.ProcessEnv) => Promise<void>
}

/** Starts a recipe's server as its README does, on a free port unless `env` has a `PORT`. The end of the test stops it. */
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
