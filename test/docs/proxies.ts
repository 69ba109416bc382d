import { spawn, type ChildProcess } from 'node:child_process'
import { randomInt } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, connect as dial } from 'node:net'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import { selfSigned } from '../support/certificate.js'
import { caddy, haproxy, nginx, type RealPart } from '../support/real-parts.js'
import { RECIPES } from '../support/recipes.js'
import { until } from '../support/until.js'
import { Page } from './markdown.js'

// Runs the configurations of examples/recipes/proxies, which lib/fastify/README.md quotes, with the real programs. Replaces only
// addresses, paths and, if a test asks for it, the idle timeout.

/** The host of the blocks, as a browser knows it. */
export const HOST = 'app.example.com'
export const certificate = selfSigned(HOST)

/** What is filled in. */
interface Filling {
  /** A directory of the proxy's own. */
  readonly directory: string
  /** Where the proxy listens on 127.0.0.1. */
  readonly port: number
  /** A port for what the program wants to listen on besides. */
  readonly sparePort: number
}

export interface ProxyKind extends RealPart {
  readonly block: string
  /** How the README marks its language. */
  readonly language: string
  /** Its whole configuration: the filled block, and what keeps the program inside its directory and on the loopback interface. */
  readonly configure: (block: string, filling: Filling) => string
  readonly file: string
  readonly args: (file: string) => string[]
  /** The file of its access log, where that is not stdout or stderr. */
  readonly accessLog?: string
}

export const page = new Page('lib/fastify/README.md')

/** The text of the chapter. */
export const chapter = page.text.split('\n## ').find((text) => text.startsWith('Behind a proxy'))!

const blockOf = (file: string): string => readFileSync(`${RECIPES}proxies/${file}`, 'utf8')

export const proxies: readonly ProxyKind[] = [
  {
    ...nginx,
    block: blockOf('nginx.conf'),
    language: 'nginx',
    file: 'nginx.conf',
    args: (file) => ['-e', 'stderr', '-c', file],
    accessLog: 'ws.log',
    configure: (block, { directory, port }) => `
      daemon off;
      pid ${directory}/nginx.pid;
      worker_processes 1;
      error_log stderr;
      ${process.getuid?.() === 0 ? `user ${userInfo().username};` : ''}
      events {}
      http {
        access_log off;
        ${['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `${name}_temp_path ${directory}/${name};`).join(' ')}
        ${replaced(block, 'listen 443', `listen 127.0.0.1:${port}`).replaceAll('/var/log/nginx', directory)}
      }`
  },
  {
    ...haproxy,
    block: blockOf('haproxy.cfg'),
    language: 'haproxy',
    file: 'haproxy.cfg',
    args: (file) => ['-db', '-f', file],
    configure: (block, { port }) => `${replaced(block, 'bind :443', `bind 127.0.0.1:${port}`)}\n`
  },
  {
    ...caddy,
    block: blockOf('Caddyfile'),
    language: 'caddyfile',
    file: 'Caddyfile',
    args: (file) => ['run', '--adapter', 'caddyfile', '--config', file],
    configure: (block, { port, sparePort }) => replaced(block, `${HOST} {`, `${HOST}:${port} {`)
      .replace(/^\{\n/, `{\n  admin off\n  default_bind 127.0.0.1\n  http_port ${sparePort}\n`)
  }
]

function replaced (text: string, part: string, by: string): string {
  if (!text.includes(part)) throw new Error(`no "${part}" in:\n${text}`)
  return text.replaceAll(part, by)
}

export interface ProxyOptions {
  /** Where the app listens. */
  readonly appPort: number
  /** Takes the place of the block's 75 seconds. */
  readonly idleTimeoutMs?: number
  /** What a test makes of the block before it is filled. */
  readonly change?: (block: string) => string
}

/** A test that runs out of time has no teardown. */
const running = new Set<ChildProcess>()
process.once('exit', () => { for (const child of running) child.kill() })

/** A proxy that runs in the foreground until it is stopped or the test ends. */
export class Proxy {
  readonly port: number
  readonly #kind: ProxyKind
  readonly #directory: string
  #process: ChildProcess | undefined
  #output = ''

  constructor (t: Test, kind: ProxyKind, ports: readonly [number, number], { appPort, idleTimeoutMs, change }: ProxyOptions) {
    const directory = this.#directory = mkdtempSync(join(tmpdir(), 'proxy-'))
    t.teardown(async () => {
      await this.stop()
      rmSync(directory, { recursive: true })
    })
    const [port, sparePort] = ports
    this.port = port
    this.#kind = kind
    let block = replaced(replaced(change?.(kind.block) ?? kind.block, '127.0.0.1:3001', `127.0.0.1:${appPort}`), '/etc/ssl/private', directory)
    if (idleTimeoutMs !== undefined) block = block.replaceAll('75s', `${idleTimeoutMs}ms`)
    writeFileSync(join(directory, kind.file), kind.configure(block, { directory, port, sparePort }))
    writeFileSync(join(directory, 'app.pem'), certificate.cert + certificate.key)
    writeFileSync(join(directory, 'app.key'), certificate.key)
  }

  /** Resolves when it accepts connections. */
  async start (): Promise<void> {
    const directory = this.#directory
    const child = this.#process = spawn(this.#kind.find()!, this.#kind.args(join(directory, this.#kind.file)), {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, HOME: directory, XDG_DATA_HOME: directory, XDG_CONFIG_HOME: directory }
    })
    running.add(child)
    child.once('close', () => running.delete(child))
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (data: Buffer) => { this.#output += data.toString() })
    await until(() => {
      if (child.exitCode !== null) throw new Error(`${this.#kind.name} ended: ${this.#output}`)
      return accepts(this.port)
    })
  }

  async stop (): Promise<void> {
    const child = this.#process
    if (child === undefined || !running.has(child)) return
    const closed = once(child, 'close')
    child.kill('SIGTERM')
    await closed
  }

  /** What it has written into its logs: those of requests, and everything else. */
  get log (): { requests: string, rest: string } {
    const { accessLog } = this.#kind
    return accessLog === undefined
      ? { requests: this.#output, rest: '' }
      : { requests: readFileSync(join(this.#directory, accessLog), 'utf8'), rest: this.#output }
  }
}

export async function startProxy (t: Test, kind: ProxyKind, options: ProxyOptions): Promise<Proxy> {
  const proxy = new Proxy(t, kind, [await freePort(), await freePort()], options)
  await proxy.start()
  return proxy
}

const taken = new Set<number>()

/**
 * A port that nobody listens on. Below those that the system gives away by itself, because a proxy that restarts needs the
 * same one again.
 */
async function freePort (): Promise<number> {
  for (;;) {
    const port = randomInt(10_000, 30_000)
    const server = createServer().listen(port, '127.0.0.1')
    const isFree = await once(server, 'listening').then(() => true, () => false)
    server.close()
    if (!isFree || taken.has(port)) continue
    taken.add(port)
    return port
  }
}

async function accepts (port: number): Promise<boolean> {
  const socket = dial(port, '127.0.0.1')
  return once(socket, 'connect').then(() => true, () => false).finally(() => { socket.destroy() })
}
