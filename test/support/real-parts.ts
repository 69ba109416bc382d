import { spawnSync } from 'node:child_process'
import { existsSync, statSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

/** A program that some tests need and that npm does not provide. `npm run setup` installs missing ones. */
export interface RealPart {
  readonly name: string
  /** The tests that need the program, as a help to decide whether to install it. */
  readonly neededFor: string
  readonly debianPackage: string
  /** The service that Debian's package installs. No test needs it. */
  readonly service?: string
  /** Returns the command that runs the program, or undefined if it is not installed. */
  readonly find: () => string | undefined
}

/** Commands that run Python. On many machines with several versions, Debian's own one is last in the PATH. */
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

/** Paths of Chromium on Debian, other distributions and macOS. Chrome can be used as well. */
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

/** Folders to search in addition to the PATH: the folders of servers on Debian, which are only in root's PATH, and on macOS. */
const PLACES = ['/usr/sbin', '/usr/local/sbin', '/usr/local/bin', '/usr/bin', '/opt/homebrew/bin']

/** Returns the description of a program that runs between the clients and the server, or beside the server. */
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

/** The folder of the SDKs whose streams the tests read. They have a lock file of their own. */
export const SDKS = fileURLToPath(new URL('../sdks/', import.meta.url))

const INSTALLED = `${SDKS}node_modules/.package-lock.json`

export function areSdksInstalled (): boolean {
  return existsSync(INSTALLED)
}

/** Returns whether the installed packages are older than the lock file. */
export function areSdksOutdated (): boolean {
  return !areSdksInstalled() || statSync(INSTALLED).mtimeMs < statSync(`${SDKS}package-lock.json`).mtimeMs
}
