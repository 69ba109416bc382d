import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process'
import { createInterface } from 'node:readline'
import type { Test } from 'tap'

/**
 * Environment that excludes a child process from the coverage. tsx and esbuild generate different JavaScript from a file than
 * the loader of the tests, and another version of Node.js counts functions differently. If they were counted together, lines of
 * one would hide lines of the other.
 */
export const NOT_MEASURED = { _TAPJS_PROCESSINFO_COVERAGE_: '0' }

/** A child process that communicates in lines. It is killed when the test ends. */
export class Child {
  readonly process: ChildProcessWithoutNullStreams
  /** Resolves when the process has ended, with everything that it wrote to stderr. */
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

  /** Resolves with the next line of stdout. Rejects if the process has ended and no line is left. */
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

/** Arguments with which Node.js runs a TypeScript file like the tests, from the sources of this package and without a build. */
export const RUN_TYPESCRIPT = [`--import=${new URL('../loader/register.mjs', import.meta.url).href}`]

/** Runs a TypeScript file in a process of its own. */
export function runScript (t: Test, file: URL, env?: NodeJS.ProcessEnv): Child {
  return new Child(t, process.execPath, [...RUN_TYPESCRIPT, file.pathname], { ...process.env, ...NOT_MEASURED, ...env })
}
