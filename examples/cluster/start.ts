import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect, createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { serverConfig } from '../canvas/config/server.js'

// Starts everything that an app of several nodes needs, on this machine: Redis, three nodes, a worker, and HAProxy in front of
// them. Like a supervisor in production, it restarts a process that has died.

const NODES = ['node-1', 'node-2', 'node-3']
const RESTART_MS = 2_000
const STOP_MS = 5_000

/** Directories with programs. Debian installs servers in one that is not in every user's PATH. */
const PLACES = [...(process.env.PATH ?? '').split(':'), '/usr/sbin', '/usr/local/sbin', '/opt/homebrew/bin']

function find (program: string): string {
  const path = PLACES.map((place) => join(place, program)).find((candidate) => existsSync(candidate))
  if (path === undefined) throw new Error(`${program} is not installed: run "apt-get install redis-server haproxy"`)
  return path
}

async function freePort (): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

async function listens (port: number): Promise<void> {
  for (;;) {
    const socket = connect(port, '127.0.0.1')
    const isOpen = await new Promise<boolean>((resolve) => socket.once('connect', () => { resolve(true) }).once('error', () => { resolve(false) }))
    socket.destroy()
    if (isOpen) return
    await sleep(50)
  }
}

/** A process that is restarted when it dies. */
class Supervised {
  readonly #start: () => ChildProcess
  #child: ChildProcess | undefined
  #isStopping = false

  constructor (start: () => ChildProcess) {
    this.#start = start
    this.#run()
  }

  #run (): void {
    const child = this.#child = this.#start()
    child.once('exit', () => {
      if (!this.#isStopping) setTimeout(() => { if (!this.#isStopping) this.#run() }, RESTART_MS)
    })
  }

  async stop (): Promise<void> {
    this.#isStopping = true
    const child = this.#child
    if (child?.exitCode !== null || child.signalCode !== null) return
    const exited = once(child, 'exit')
    child.kill('SIGTERM')
    const timer = setTimeout(() => { child.kill('SIGKILL') }, STOP_MS)
    await exited
    clearTimeout(timer)
  }
}

/**
 * Returns the configuration of HAProxy. Connections go to the node with the fewest. A dead node gets none, and its requests go to
 * another node.
 */
function loadBalancer (port: number, nodes: ReadonlyArray<readonly [name: string, port: number]>): string {
  return `
defaults
  mode http
  timeout connect 1s
  timeout client 75s
  timeout server 75s
  timeout tunnel 75s
  retries 3
  option redispatch 1

frontend canvas
  bind 127.0.0.1:${port}
  default_backend nodes

backend nodes
  balance leastconn
  default-server check inter 500ms fall 1 rise 1 observe layer4 error-limit 1 on-error mark-down on-marked-down shutdown-sessions
${nodes.map(([name, at]) => `  server ${name} 127.0.0.1:${at}`).join('\n')}
`
}

async function start (): Promise<void> {
  const { port: wanted } = serverConfig(process.env)
  const [redisServer, haproxy] = [find('redis-server'), find('haproxy')]
  const port = wanted === 0 ? await freePort() : wanted
  const directory = mkdtempSync(join(tmpdir(), 'ai-canvas-cluster-'))
  const redisPort = await freePort()
  const started: Supervised[] = []
  const supervise = (command: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): void => {
    started.push(new Supervised(() => spawn(command, args, { stdio: ['ignore', 'ignore', 'inherit'], env: { ...process.env, ...env } })))
  }
  const script = (name: string): string[] => [...process.execArgv, join(import.meta.dirname, name)]

  let stopping: Promise<void> | undefined
  const stop = (): Promise<void> => stopping ??= (async () => {
    // Redis stops last, because the worker and the nodes still report the ends of their jobs.
    const [redis, ...others] = started
    await Promise.all(others.map((other) => other.stop()))
    await redis?.stop()
    rmSync(directory, { recursive: true, force: true })
  })()
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => { void stop() })

  supervise(redisServer, ['--port', String(redisPort), '--bind', '127.0.0.1', '--dir', directory, '--save', '', '--appendonly', 'yes', '--maxmemory', '256mb',
    '--maxmemory-policy', 'volatile-ttl'])
  await listens(redisPort)
  const env = { REDIS_URL: `redis://127.0.0.1:${redisPort}`, HOST: '127.0.0.1' }
  const ports = await Promise.all(NODES.map(freePort))
  const nodes = NODES.map((name, at) => [name, ports[at] ?? 0] as const)
  for (const [name, at] of nodes) supervise(process.execPath, script('node.ts'), { ...env, PORT: String(at), NODE_NAME: name })
  supervise(process.execPath, script('worker.ts'), env)
  await Promise.all(nodes.map(([, at]) => listens(at)))

  const file = join(directory, 'haproxy.cfg')
  writeFileSync(file, loadBalancer(port, nodes))
  supervise(haproxy, ['-db', '-f', file])
  await listens(port)
  if (stopping === undefined) process.stdout.write(`AI Canvas on three nodes: open http://localhost:${port}/\n`)
}

try {
  await start()
} catch (error) {
  process.stderr.write(`AI Canvas: ${(error as Error).message}\n`)
  process.exitCode = 1
}
