import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'

// Calls between the benchmark and its processes, over the IPC channel of fork.

interface Call { readonly id: number, readonly method: string, readonly input: unknown }
interface Answer { readonly id: number, readonly output?: unknown, readonly error?: string }

export type Handlers = Record<string, (input: never) => unknown>

/** Handles the parent's calls in a child process. Exits when the parent disconnects. */
export function serve (handlers: Handlers): void {
  process.on('message', (call: Call) => {
    void answer(handlers, call).then((message) => { process.send?.(message) })
  })
  // An exit instead of a kill, so that a profile is written.
  process.on('disconnect', () => { process.exit(0) })
}

async function answer (handlers: Handlers, { id, method, input }: Call): Promise<Answer> {
  try {
    return { id, output: await handlers[method]?.(input as never) }
  } catch (error) {
    return { id, error: error instanceof Error ? error.stack ?? error.message : String(error) }
  }
}

const EXIT_TIMEOUT_MS = 5_000

/** A child process with handlers. */
export class Peer<H extends Handlers> {
  readonly #child: ChildProcess
  readonly #calls = new Map<number, { resolve: (value: never) => void, reject: (error: Error) => void }>()
  readonly #name: string
  #id = 0

  constructor (name: string, file: URL, args: readonly string[], execArgv: readonly string[]) {
    this.#name = name
    this.#child = fork(file, args, { execArgv: [...process.execArgv, ...execArgv] })
    this.#child.on('message', ({ id, output, error }: Answer) => {
      const call = this.#calls.get(id)
      this.#calls.delete(id)
      if (error === undefined) call?.resolve(output as never)
      else call?.reject(new Error(`${name}: ${error}`))
    })
    this.#child.on('exit', (code, signal) => {
      for (const { reject } of this.#calls.values()) reject(new Error(`${name} exited early (${String(code ?? signal)})`))
      this.#calls.clear()
    })
  }

  /** Rejects after a timeout, because a benchmark must never hang. */
  async call<K extends keyof H & string> (
    method: K, input: Parameters<H[K]>[0], timeoutMs = 120_000
  ): Promise<Awaited<ReturnType<H[K]>>> {
    const id = this.#id++
    let timer: NodeJS.Timeout | undefined
    const answered = new Promise<Awaited<ReturnType<H[K]>>>((resolve, reject) => {
      this.#calls.set(id, { resolve, reject })
      timer = setTimeout(() => { reject(new Error(`${this.#name}: ${method} took longer than ${timeoutMs} ms`)) }, timeoutMs)
      if (this.#child.connected) this.#child.send({ id, method, input })
      else reject(new Error(`${this.#name} has exited`))
    })
    return await answered.finally(() => { clearTimeout(timer) })
  }

  async end (): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    const exited = once(this.#child, 'exit')
    const timer = setTimeout(() => { this.#child.kill('SIGKILL') }, EXIT_TIMEOUT_MS)
    if (this.#child.connected) this.#child.disconnect()
    await exited
    clearTimeout(timer)
  }
}
