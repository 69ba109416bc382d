import { spawnSync } from 'node:child_process'
import { existsSync, statSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

/** A program that some test talks to, and that npm does not bring. `npm run setup` installs what is missing. */
export interface RealPart {
  readonly name: string
  /** What tests it, for the one who has to decide whether to install it. */
  readonly neededFor: string
  readonly debianPackage: string
  /** The service that Debian's package brings, which no test needs. */
  readonly service?: string
  /** Answers how to run it, or undefined when it is not there. */
  readonly find: () => string | undefined
}

/** Debian's own comes last in the PATH of many who have several. */
const PYTHONS = ['python3', '/usr/bin/python3']

export const pythonWebsockets: RealPart = {
  name: 'Python with websockets',
  neededFor: 'a client that is not JavaScript inflates what the server deflates',
  debianPackage: 'python3-websockets',
  find: () => PYTHONS.find((python) => spawnSync(python, ['-c', 'import websockets']).status === 0)
}

export const pythonRedis: RealPart = {
  name: 'Python with redis-py',
  neededFor: 'a worker that is not JavaScript calls the function of Redis',
  debianPackage: 'python3-redis',
  find: () => PYTHONS.find((python) => spawnSync(python, ['-c', 'import redis']).status === 0)
}

/** Where Debian, others, and a Mac put it. Chrome does as well. */
const CHROMIUMS = [
  '/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome', '/snap/bin/chromium',
  '/Applications/Chromium.app/Contents/MacOS/Chromium', '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome'
]

export const chromium: RealPart = {
  name: 'Chromium',
  neededFor: 'the page and the client in a real browser',
  debianPackage: 'chromium',
  find: () => CHROMIUMS.find((path) => existsSync(path))
}

/** Beside the PATH: where Debian puts servers, which is in root's PATH alone, and where a Mac puts them. */
const PLACES = ['/usr/sbin', '/usr/local/sbin', '/usr/local/bin', '/usr/bin', '/opt/homebrew/bin']

/** A program that stands between clients and the server, or beside it. */
function proxy (name: string, program: string, debianPackage = program): RealPart {
  return {
    name,
    neededFor: `the configuration that lib/fastify/README.md shows for ${name}`,
    debianPackage,
    service: program,
    find: () => [...(process.env.PATH ?? '').split(':'), ...PLACES].map((place) => `${place}/${program}`).find((path) => existsSync(path))
  }
}

export const nginx = proxy('nginx', 'nginx', 'nginx-light')
export const haproxy = proxy('HAProxy', 'haproxy')
export const caddy = proxy('Caddy', 'caddy')

export const redisServer: RealPart = {
  ...proxy('Redis', 'redis-server'),
  neededFor: 'the broker over Redis'
}

export const realParts: readonly RealPart[] = [pythonWebsockets, pythonRedis, chromium, nginx, haproxy, caddy, redisServer]

/** The folder of the SDKs whose streams the tests follow. They have a lock file of their own. */
export const SDKS = fileURLToPath(new URL('../sdks/', import.meta.url))

const INSTALLED = `${SDKS}node_modules/.package-lock.json`

export function areSdksInstalled (): boolean {
  return existsSync(INSTALLED)
}

/** Whether the installed packages are older than the lock file. */
export function areSdksOutdated (): boolean {
  return !areSdksInstalled() || statSync(INSTALLED).mtimeMs < statSync(`${SDKS}package-lock.json`).mtimeMs
}
