import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path/posix'
import t from 'tap'
import ts from 'typescript'

/**
 * The rooms of lib/ by floor, from the top down. A room may import from lower floors, types included. Rooms of the same floor
 * may not import each other.
 */
const floors: ReadonlyArray<readonly string[]> = [
  ['index'],
  ['plugin', 'redis'],
  // `testing` contains tests for authors of brokers, with the defaults of the options.
  ['server', 'testing'],
  // The documented options name the types of the hooks and routes that they configure.
  ['options'],
  ['fastify'],
  ['manager'],
  ['connections', 'jobs'],
  ['delivery'],
  ['streams'],
  ['react'],
  ['client'],
  ['protocol'],
  ['util']
]

/** The rooms that run in a browser. They import nothing of the server, and only types of the protocol. */
const browser: readonly string[] = ['react', 'client', 'protocol']

/** Packages that each room may import. Below `fastify`, no room imports Fastify, ws or Redis, so its tests need no port. */
const packages: Readonly<Record<string, readonly string[]>> = {
  index: [],
  plugin: ['@fastify/websocket', 'fastify', 'fastify-plugin', 'node:cluster', 'node:http'],
  server: [],
  redis: ['ioredis', 'node:crypto', 'node:os', 'node:util'],
  testing: ['node:assert', 'node:crypto', 'node:util'],
  options: ['ws'],
  fastify: [
    '@fastify/type-provider-typebox', '@fastify/websocket', '@sinclair/typebox', 'fastify', 'node:async_hooks', 'node:crypto', 'node:events', 'node:http',
    'node:net', 'node:stream', 'node:tls', 'ws'
  ],
  manager: [],
  connections: ['@sinclair/typebox', 'node:crypto', 'secure-json-parse'],
  jobs: [],
  delivery: ['node:crypto', 'node:zlib'],
  streams: ['node:crypto'],
  react: ['react'],
  client: [],
  protocol: ['@sinclair/typebox'],
  util: ['@fastify/error', 'node:async_hooks']
}

/** Sources by their paths below lib/. */
type Sources = ReadonlyMap<string, string>

function sourcesOf (directory: URL): Sources {
  const paths = readdirSync(directory, { recursive: true, encoding: 'utf8' }).filter((path) => path.endsWith('.ts'))
  return new Map(paths.map((path) => [path, readFileSync(new URL(path, directory), 'utf8')]))
}

/** Returns the imports of a file, in every form: paths below lib/ and names of modules. */
function importsOf (path: string, source: string): string[] {
  return ts.preProcessFile(source).importedFiles.map(({ fileName }) =>
    fileName.startsWith('.') ? join(dirname(path), fileName).replace(/\.js$/, '.ts') : fileName)
}

/** Returns the folder of a file, or the file's own name if it is directly in lib/. */
function roomOf (path: string): string {
  return path.includes('/') ? path.slice(0, path.indexOf('/')) : path.replace(/\.ts$/, '')
}

function packageOf (name: string): string {
  return name.split('/', name.startsWith('@') ? 2 : 1).join('/')
}

function mayImport (from: string, to: string): boolean {
  if (from === to) return true
  if (from === 'react') return to === 'client'
  if (browser.includes(from)) return browser.indexOf(to) > browser.indexOf(from)
  if (to === 'react' || to === 'client') return false
  const floor = (room: string): number => floors.findIndex((rooms) => rooms.includes(room))
  return floor(from) >= 0 && floor(to) > floor(from)
}

/** Returns a description of every import that is not allowed. */
function breaches (sources: Sources): string[] {
  const found: string[] = []
  for (const [path, source] of sources) {
    const room = roomOf(path)
    if (!(room in packages)) found.push(`${path}: give the room "${room}" a floor and its packages`)
    for (const target of importsOf(path, source)) {
      const isOurs = target.endsWith('.ts')
      const allowed = isOurs ? mayImport(room, roomOf(target)) : packages[room]?.includes(packageOf(target))
      if (allowed !== true) found.push(`${path} imports ${target}`)
    }
  }
  return found
}

/** Returns the source as it is loaded, without its imports of types, which may name further rooms. */
function loaded (source: string): string {
  return ts.transpile(source, { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2023, verbatimModuleSyntax: true })
}

/** Returns the rooms and packages that a browser loads for a room. A room may load nothing of the protocol. */
function loadedFrom (room: string, sources: Sources): string[] {
  return [...sources].filter(([path]) => roomOf(path) === room).flatMap(([path, source]) =>
    importsOf(path, loaded(source)).map((target) => target.endsWith('.ts') ? roomOf(target) : target))
}

/** Returns the circular imports, types included. Each one is reported once, as the chain of its files. */
function circles (sources: Sources): string[] {
  const found: string[] = []
  const done = new Set<string>()
  const visit = (path: string, way: readonly string[]): void => {
    if (way.includes(path)) found.push([...way.slice(way.indexOf(path)), path].join(' -> '))
    if (way.includes(path) || done.has(path)) return
    for (const target of importsOf(path, sources.get(path)!)) if (sources.has(target)) visit(target, [...way, path])
    done.add(path)
  }
  for (const path of sources.keys()) visit(path, [])
  return found
}

const lib = sourcesOf(new URL('../../lib/', import.meta.url))

t.test('no import goes up, or out where it may not', async (t) => {
  t.ok(lib.size > 40, 'the files were found')
  t.same(breaches(lib), [])
})

t.test('no file imports itself through others, not even for a type', async (t) => {
  t.same(circles(lib), [])
})

t.test('every room, floor and package that is allowed exists', async (t) => {
  const rooms = new Set([...lib.keys()].map(roomOf))
  t.same(floors.flat().sort(), [...rooms].sort())
  t.same(Object.keys(packages).sort(), [...rooms].sort())
  for (const [room, names] of Object.entries(packages)) {
    const used = [...lib].filter(([path]) => roomOf(path) === room)
      .flatMap(([path, source]) => importsOf(path, source)).map(packageOf)
    t.same(names.filter((name) => !name.startsWith('node:') && !used.includes(name)), [], `${room} uses all that it may`)
  }
})

t.test('the client loads nothing of the protocol, and nothing of Node.js', async (t) => {
  t.same([...new Set(loadedFrom('client', lib))], ['client'])
  t.same([...new Set(loadedFrom('react', lib))].sort(), ['client', 'react'], 'react itself is a folder\'s name here')
  t.same(loadedFrom('client', new Map([['client/a.ts', 'import { Id } from \'../protocol/messages.js\'']])), ['protocol'])
})

t.test('each kind of breach is seen, in each form of an import', async (t) => {
  const breach = (path: string, source: string): string[] => breaches(new Map([[path, source]]))
  t.same(breach('manager/a.ts', 'import type { FastifyInstance } from \'fastify\''), ['manager/a.ts imports fastify'])
  t.same(breach('delivery/a.ts', 'export * from \'ws\''), ['delivery/a.ts imports ws'])
  t.same(breach('connections/a.ts', 'const redis = await import(\'ioredis\')'), ['connections/a.ts imports ioredis'])
  t.same(breach('delivery/a.ts', 'import { x } from \'../connections/x.js\''), ['delivery/a.ts imports connections/x.ts'])
  t.same(breach('connections/a.ts', 'import { x } from \'../jobs/x.js\''), ['connections/a.ts imports jobs/x.ts'], 'neighbours')
  t.same(breach('protocol/a.ts', 'let clock: import(\'../util/clock.js\').Clock'), ['protocol/a.ts imports util/clock.ts'])
  t.same(breach('protocol/a.ts', 'import \'node:crypto\''), ['protocol/a.ts imports node:crypto'])
  t.same(breach('util/clock.ts', 'import { Id } from \'../protocol/messages.js\''), ['util/clock.ts imports protocol/messages.ts'])
  t.same(breach('options.ts', 'import { x } from \'./server.js\''), ['options.ts imports server.ts'])
  t.same(breach('client/a.ts', 'import { join } from \'node:path\''), ['client/a.ts imports node:path'])
  t.same(breach('client/a.ts', 'import { systemClock } from \'../util/clock.js\''), ['client/a.ts imports util/clock.ts'])
  t.same(breach('react/a.ts', 'import type { Id } from \'../protocol/messages.js\''), ['react/a.ts imports protocol/messages.ts'])
  t.same(breach('manager/a.ts', 'import { Client } from \'../client/client.js\''), ['manager/a.ts imports client/client.ts'])
  t.same(breach('kafka/a.ts', ''), ['kafka/a.ts: give the room "kafka" a floor and its packages'])
  t.same(breach('fastify/a.ts', 'import { x } from \'../connections/x.js\'; import { y } from \'ws\''), [])
  const circle = new Map([['a.ts', 'import \'./b.js\''], ['b.ts', 'import type { C } from \'./c.js\''], ['c.ts', 'import \'./b.js\'']])
  t.same(circles(circle), ['b.ts -> c.ts -> b.ts'])
})
