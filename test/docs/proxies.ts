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

/** The host name in the blocks, to which browsers connect. */
export const HOST = 'app.example.com'
export const certificate = selfSigned(HOST)

/** The values that are inserted into a block. */
interface Filling {
  /** A directory that no other proxy uses. */
  readonly directory: string
  /** Port on 127.0.0.1 where the proxy listens. */
  readonly port: number
  /** Port for a further listener of the program. */
  readonly sparePort: number
}

export interface ProxyKind extends RealPart {
  readonly block: string
  /** Language of the code block in the README. */
  readonly language: string
  /**
   * Returns the whole configuration: the filled block, and settings that keep the program inside its directory and on the
   * loopback interface.
   */
  readonly configure: (block: string, filling: Filling) => string
  readonly file: string
  readonly args: (file: string) => string[]
  /** File name of the access log, unless it is written to stdout or stderr. */
  readonly accessLog?: string
}

export const page = new Page('lib/fastify/README.md')

/** The text of the chapter about proxies. */
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
  /** Port on 127.0.0.1 where the app listens. */
  readonly appPort: number
  /** Replaces the 75 seconds of the block. */
  readonly idleTimeoutMs?: number
  /** Changes the block before the values are inserted. */
  readonly change?: (block: string) => string
}

/** The running proxies. They are killed when this process exits, because a test that times out runs no teardown. */
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

  /** Starts the proxy. Resolves when it accepts connections. */
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

  /** The proxy's logs so far: the log of requests, and everything else. */
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
 * Returns an unused port. It is below the ephemeral ports that the system assigns, because a proxy that restarts needs the same
 * port again.
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
