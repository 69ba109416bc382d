import { spawn, spawnSync, type ChildProcessWithoutNullStreams } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Test } from 'tap'
import { NOT_MEASURED } from '../../support/child.js'
import { RECIPES } from './installed.js'

/** A server of a recipe. It listens on the same port after each start. */
export interface RecipeServer {
  readonly url: string
  /** Ends it as a crash or a stop does, and resolves with its exit code when it is gone. */
  stop (signal: 'SIGKILL' | 'SIGTERM'): Promise<number | null>
  start (): Promise<void>
}

interface Command { readonly program: string, readonly args: readonly string[], readonly env: NodeJS.ProcessEnv }

/** The command of a script in the recipe's package.json. npm would stand between the program and our signals. */
function commandOf (recipe: string, script: string): Command {
  const { scripts } = JSON.parse(readFileSync(join(RECIPES, recipe, 'package.json'), 'utf8')) as { scripts: Record<string, string | undefined> }
  const [program = '', ...args] = scripts[script]?.split(' ') ?? []
  const env = {
    ...process.env,
    PATH: `${join(RECIPES, recipe, 'node_modules/.bin')}:${join(RECIPES, 'node_modules/.bin')}:${process.env.PATH ?? ''}`,
    NODE_OPTIONS: '',
    NO_COLOR: '1',
    NEXT_TELEMETRY_DISABLED: '1',
    ...NOT_MEASURED
  }
  return { program, args, env }
}

/** Runs a script of a recipe to its end, such as `build`. */
export function runRecipeScript (recipe: string, script: string): void {
  const { program, args, env } = commandOf(recipe, script)
  const { status, stdout, stderr } = spawnSync(program, args, { cwd: join(RECIPES, recipe), env, encoding: 'utf8' })
  if (status !== 0) throw new Error(`"npm run ${script}" of ${recipe} ended with ${status}: ${stdout}${stderr}`)
}

interface Given { readonly more?: readonly string[], readonly given?: NodeJS.ProcessEnv }

/** Starts a script of a recipe that listens, on any free port. Ended with the test. */
export async function startRecipeServer (t: Test, recipe: string, script: string, { more = [], given = {} }: Given = {}): Promise<RecipeServer> {
  const { program, args, env } = commandOf(recipe, script)
  let port = '0'
  let child: ChildProcessWithoutNullStreams
  const server = {
    url: '',
    async stop (signal: NodeJS.Signals) {
      if (child.exitCode !== null || child.signalCode !== null) return child.exitCode
      const exit = once(child, 'exit') as Promise<[number | null]>
      child.kill(signal)
      return (await exit)[0]
    },
    async start () {
      child = spawn(program, [...args, ...more], { cwd: join(RECIPES, recipe), env: { ...env, PORT: port, ...given } })
      server.url = await listening(child)
      port = new URL(server.url).port
    }
  }
  t.teardown(() => server.stop('SIGKILL'))
  await server.start()
  return server
}

/** Resolves with the first address that the server prints. */
async function listening (child: ChildProcessWithoutNullStreams): Promise<string> {
  let output = ''
  child.stderr.on('data', (data: Buffer) => { output += data.toString() })
  return new Promise((resolve, reject) => {
    // Every line is read to the end, also after the one that is waited for: a full pipe would stop the server.
    createInterface(child.stdout).on('line', (line) => {
      output += `${line}\n`
      const port = /http:\/\/(?:localhost|127\.0\.0\.1|\[::1\]):(\d+)/.exec(line)?.[1]
      if (port !== undefined) resolve(`http://localhost:${port}`)
    })
    child.on('error', reject)
    child.on('close', (code) => { reject(new Error(`it ended with ${code} and never listened: ${output}`)) })
  })
}
