import { fork, type ChildProcess } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { NOT_MEASURED } from '../support/child.js'
import type { Journal } from './soak-failure.js'
import type { JobOrder, Numbered, ServerConfig, ServerEvent, ServerState } from './server/messages.js'

interface Calls {
  job: (order: JobOrder) => boolean
  note: (sessionId: string) => undefined
  noteToUser: (userId: string) => undefined
  fleeting: (sessionId: string) => undefined
  cancel: (sessionId: string) => boolean
  revoke: (right: { userId: string, sessionId?: string | undefined }) => number
  state: (options: { collectGarbage: boolean }) => ServerState
  odd: (work: { seed: number, calls: number, sessions: readonly string[] }) => undefined
}

const root = fileURLToPath(new URL('../../', import.meta.url))
/** Below `node_modules`, so that the bundle's imports are found. */
const bundles = `${root}node_modules/.cache/soak/${process.pid}/`
let built: Promise<unknown> | undefined

/**
 * Bundles the script of each server process with this package's sources into one file. A run starts many servers, and each would
 * take seconds to load some eighty sources through a TypeScript loader.
 */
export function buildServer (): Promise<unknown> {
  return built ??= build({
    entryPoints: ['chaos-app', 'odd-app'].map((name) => fileURLToPath(new URL(`server/${name}.ts`, import.meta.url))),
    outdir: bundles,
    outExtension: { '.js': '.mjs' },
    bundle: true,
    packages: 'external',
    alias: { 'ai-canvas-ws': `${root}lib/index.ts` },
    platform: 'node',
    format: 'esm',
    target: 'node20',
    sourcemap: 'inline',
    logLevel: 'error'
  })
}

/** Margin for the documented deadline. It is far above what a busy machine needs, but short enough to detect a hang. */
const CLOSE_MARGIN_MS = 6_000
const EXIT_MARGIN_MS = 10_000

/** A real server in its own process, which can be killed at any moment. Call `buildServer` first. */
export class ServerProcess {
  /** Undefined until the server listens. */
  port: number | undefined
  readonly listening: Promise<void>
  /** Resolves when the process has ended for any reason. */
  readonly exited: Promise<void>
  readonly #child: ChildProcess
  readonly #config: ServerConfig
  readonly #journal: Journal
  readonly #calls = new Map<number, (output: unknown) => void>()
  #stderr = ''
  #id = 0
  #mayEnd = false
  #closedAfterMs: number | undefined

  constructor (config: ServerConfig, journal: Journal, numbered: (list: readonly Numbered[], endedJobs: readonly string[]) => void, app: 'chaos-app' | 'odd-app' = 'chaos-app') {
    this.#config = config
    this.#journal = journal
    this.#child = fork(`${bundles}${app}.mjs`, [JSON.stringify(config)], {
      execArgv: ['--enable-source-maps'],
      env: { ...process.env, ...NOT_MEASURED },
      stdio: ['ignore', 'ignore', 'pipe', 'ipc']
    })
    this.#child.stderr!.on('data', (chunk: Buffer) => { this.#stderr = `${this.#stderr}${chunk.toString()}`.slice(-4_000) })
    let isListening = (): void => { /* set below */ }
    this.listening = new Promise((resolve) => { isListening = resolve })
    this.#child.on('message', (message: ServerEvent | { id: number, output: unknown }) => {
      if ('id' in message) {
        this.#calls.get(message.id)?.(message.output)
        this.#calls.delete(message.id)
      } else if (message.event === 'listening') {
        this.port = message.port
        isListening()
      } else if (message.event === 'numbered') {
        numbered(message.list, message.endedJobs)
      } else if (message.event === 'closed') {
        this.#closedAfterMs = message.ms
        journal.note(`app.close() returned after ${message.ms.toFixed(0)} ms`)
      } else {
        journal.fail(message.invariant, message.detail)
      }
    })
    this.exited = new Promise((resolve) => {
      this.#child.on('exit', (code, signal) => {
        this.port = undefined
        journal.note(`the server process ended (${String(code ?? signal)})`)
        if (!this.#mayEnd) journal.fail('the server never dies by itself', `it ended with ${String(code ?? signal)}: ${this.#stderr}`)
        for (const answer of this.#calls.values()) answer(undefined)
        this.#calls.clear()
        resolve()
      })
    })
  }

  /** Calls the app in the process. Resolves with undefined if the process ends before it replies. */
  call<K extends keyof Calls> (method: K, input: Parameters<Calls[K]>[0]): Promise<ReturnType<Calls[K]> | undefined> {
    return new Promise((resolve) => {
      if (!this.#child.connected) {
        resolve(undefined)
        return
      }
      const id = this.#id++
      this.#calls.set(id, resolve as (output: unknown) => void)
      this.#child.send({ id, method, input }, (error) => { if (error !== null) resolve(undefined) })
    })
  }

  async kill (): Promise<void> {
    this.#mayEnd = true
    this.#child.kill('SIGKILL')
    await this.exited
  }

  /** Ends the process as a deploy does. `app.close()` must return within its deadline, and nothing may keep the process alive after it. */
  async restart (): Promise<void> {
    const { closeTimeoutMs } = this.#config
    this.#mayEnd = true
    this.#child.kill('SIGTERM')
    const limitMs = closeTimeoutMs + CLOSE_MARGIN_MS
    await this.#journal.until('app.close() returns', () => this.#closedAfterMs !== undefined || this.#child.exitCode !== null, limitMs + EXIT_MARGIN_MS)
    if (this.#closedAfterMs === undefined || this.#closedAfterMs > limitMs) {
      this.#journal.fail('app.close() returns within its deadline', `${String(this.#closedAfterMs)} ms, allowed are ${limitMs}; ${this.#stderr}`)
    }
    await this.#journal.until('after app.close() nothing keeps the process alive', () => this.#child.exitCode !== null || this.#child.signalCode !== null, EXIT_MARGIN_MS)
    if (this.#child.exitCode !== 0) this.#journal.fail('the process ends by itself', `code ${String(this.#child.exitCode)}: ${this.#stderr}`)
  }
}
