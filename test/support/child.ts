import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process'
import { createInterface } from 'node:readline'
import type { Test } from 'tap'

/**
 * Keeps a child process out of the coverage. tsx and esbuild make other JavaScript of a file than the tests' loader does, and
 * another Node.js counts functions otherwise: counted together, lines of the one would hide lines of the other.
 */
export const NOT_MEASURED = { _TAPJS_PROCESSINFO_COVERAGE_: '0' }

/** A program that talks in lines. Killed when the test ends. */
export class Child {
  readonly process: ChildProcessWithoutNullStreams
  /** How it ended, with everything that it wrote to stderr. */
  readonly exited: Promise<{ code: number | null, signal: NodeJS.Signals | null, stderr: string }>
  readonly #lines: string[] = []
  #wake: (() => void) | undefined
  #ended = false

  constructor (t: Test, command: string, args: string[], env: NodeJS.ProcessEnv = process.env) {
    this.process = spawn(command, args, { env })
    let stderr = ''
    this.process.stderr.on('data', (chunk: Buffer) => { stderr += chunk.toString() })
    const lines = createInterface(this.process.stdout)
    lines.on('line', (line) => {
      this.#lines.push(line)
      this.#wake?.()
    })
    lines.on('close', () => {
      this.#ended = true
      this.#wake?.()
    })
    this.exited = new Promise((resolve, reject) => {
      this.process.on('error', reject)
      this.process.on('close', (code, signal) => { resolve({ code, signal, stderr }) })
    })
    t.teardown(() => { this.process.kill('SIGKILL') })
  }

  /** The next line of its stdout. Rejects when there is none to come. */
  async next (): Promise<string> {
    while (this.#lines.length === 0) {
      if (this.#ended) throw new Error(`it ended: ${JSON.stringify(await this.exited)}`)
      await new Promise<void>((resolve) => { this.#wake = resolve })
    }
    return this.#lines.shift()!
  }

  write (line: string): void {
    this.process.stdin.write(`${line}\n`)
  }
}

/** Arguments with which Node.js runs a TypeScript file as the tests run: with the sources of this package, and no build. */
export const RUN_TYPESCRIPT = [`--import=${new URL('../loader/register.mjs', import.meta.url).href}`]

/** Runs a TypeScript file in a process of its own. */
export function runScript (t: Test, file: URL, env?: NodeJS.ProcessEnv): Child {
  return new Child(t, process.execPath, [...RUN_TYPESCRIPT, file.pathname], { ...process.env, ...NOT_MEASURED, ...env })
}
