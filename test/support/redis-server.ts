import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect, createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import { redisServer } from './real-parts.js'
import { until } from './until.js'

/** The reason why the tests can't run, or false. In CI they run, and fail. */
export const withoutRedis: string | false = redisServer.find() === undefined && process.env.CI !== 'true' ? 'redis-server is not installed: run "npm run setup"' : false

/** A real Redis server with a port of its own. */
export class RedisServer {
  readonly port: number
  readonly directory = mkdtempSync(join(tmpdir(), 'aicw-redis-'))
  readonly #args: readonly string[]
  #process: ChildProcess | undefined
  #admin: Redis | undefined

  private constructor (port: number, args: readonly string[]) {
    this.port = port
    this.#args = args
  }

  /** Starts a server. @param args Further settings, such as `--appendonly yes`. */
  static async start (...args: string[]): Promise<RedisServer> {
    const server = new RedisServer(await freePort(), args)
    await server.restart()
    return server
  }

  /** Executes a command on a connection of its own. */
  async command (name: string, ...args: ReadonlyArray<string | Buffer>): Promise<unknown> {
    this.#admin ??= new Redis({ port: this.port, maxRetriesPerRequest: null }).on('error', () => undefined)
    return this.#admin.call(name, ...args)
  }

  /** Starts the process again after a `kill`. It loads what it has written to its disk. */
  async restart (): Promise<void> {
    const program = redisServer.find()
    if (program === undefined) throw new Error('redis-server is not installed')
    const process = spawn(program, ['--port', String(this.port), '--save', '', '--appendonly', 'no', '--dir', this.directory, ...this.#args], { stdio: 'ignore' })
    this.#process = process
    await until(() => canConnect(this.port))
  }

  /** Ends the process at once. */
  async kill (): Promise<void> {
    const process = this.#process
    if (process?.exitCode !== null || process.signalCode !== null) return
    const exited = once(process, 'exit')
    process.kill('SIGKILL')
    await exited
  }

  /** Suspends or resumes the process. */
  signal (name: 'SIGSTOP' | 'SIGCONT'): void {
    this.#process?.kill(name)
  }

  async stop (): Promise<void> {
    this.#admin?.disconnect()
    await this.kill()
    rmSync(this.directory, { recursive: true, force: true })
  }
}

export async function freePort (): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  return port
}

function canConnect (port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.destroy()
      resolve(true)
    }).on('error', () => { resolve(false) })
  })
}
