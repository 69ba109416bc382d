import { execFile } from 'node:child_process'
import { cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { createContext, runInContext } from 'node:vm'
import t from 'tap'

// Tests the package that an app installs: it is built, packed and unpacked outside the repository, where only the declared
// dependencies can be found beside it.

interface Manifest {
  dependencies: Record<string, string>
  peerDependencies: Record<string, string>
  peerDependenciesMeta: Record<string, { optional: boolean }>
}

/** Runs a command as a user does, without the loaders that tap adds to every child process. */
const run = (command: string, args: readonly string[], { cwd = outside } = {}): Promise<{ stdout: string, stderr: string }> =>
  promisify(execFile)('env', ['-u', 'NODE_OPTIONS', command, ...args], { cwd })
const root = fileURLToPath(new URL('../../', import.meta.url))
const tsc = join(root, 'node_modules/typescript/bin/tsc')
const installed = (name: string): string => join(root, 'node_modules', name)

const outside = await mkdtemp(join(tmpdir(), 'ai-canvas-ws-'))
const app = join(outside, 'app')
const unpacked = join(app, 'node_modules/ai-canvas-ws')
t.teardown(() => rm(outside, { recursive: true, force: true }))

async function pack (): Promise<string> {
  const stage = join(outside, 'stage')
  await mkdir(stage)
  for (const name of ['package.json', 'tsconfig.json', 'README.md', 'LICENSE', 'lib']) {
    await cp(join(root, name), join(stage, name), { recursive: true })
  }
  await symlink(join(root, 'node_modules'), join(stage, 'node_modules'))
  // The package is not built yet. Packing builds it.
  const { stdout } = await run('npm', ['pack', '--silent', '--pack-destination', outside], { cwd: stage })
  return join(outside, stdout.trim())
}

async function install (tarball: string): Promise<Manifest> {
  await mkdir(unpacked, { recursive: true })
  await run('tar', ['-xzf', tarball, '--strip-components=1', '-C', unpacked])
  const manifest = JSON.parse(await readFile(join(unpacked, 'package.json'), 'utf8')) as Manifest
  // Every app in TypeScript installs the types of Node.js and of React.
  for (const name of [...Object.keys({ ...manifest.dependencies, ...manifest.peerDependencies }), '@types/node', '@types/react', 'csstype']) {
    const link = join(app, 'node_modules', name)
    await mkdir(dirname(link), { recursive: true })
    await symlink(installed(name), link)
  }
  await writeFile(join(app, 'package.json'), '{"type":"module"}')
  return manifest
}

const manifest = await install(await pack())

t.test('the package holds the compiled code, its types and the pages, and nothing else', async (t) => {
  const files = await readdir(unpacked, { recursive: true, withFileTypes: true })
  const paths = files.filter((file) => file.isFile()).map((file) => join(file.parentPath, file.name).slice(unpacked.length + 1)).sort()
  t.same(paths.filter((path) => !/^(?:dist\/.+\.(?:js|d\.ts)|lib\/(?:.+\/)?README\.md|package\.json|README\.md|CHANGELOG\.md|LICENSE)$/.test(path)), [])
  for (const path of ['dist/index.js', 'dist/index.d.ts', 'dist/protocol/index.js', 'dist/client/index.js', 'dist/react/index.js', 'dist/redis/index.js', 'dist/testing/index.js', 'lib/protocol/README.md', 'README.md', 'LICENSE']) {
    t.ok(paths.includes(path), path)
  }
})

t.test('an app runs it, with nothing but what it declares', async (t) => {
  await writeFile(join(app, 'app.js'), `
    import { once } from 'node:events'
    import Fastify from 'fastify'
    import plugin, { aiCanvasWs, defaults, getWebSocketManager, redactedRequest } from 'ai-canvas-ws'
    import { closeCodes, reconnectRule, ServerMessage } from 'ai-canvas-ws/protocol'
    import { brokerContract, fuzzBroker } from 'ai-canvas-ws/testing'

    const app = Fastify()
    await app.register(plugin)
    await app.listen({ port: 0, host: '127.0.0.1' })
    const { WebSocket } = await import('ws')
    const socket = new WebSocket('ws://127.0.0.1:' + app.server.address().port + defaults.path + '?sessionId=s')
    const [greeting] = await once(socket, 'message')
    const receipt = await getWebSocketManager().notifyAIStart('s', { prompt: 'x' })
    const [started] = await once(socket, 'message')
    socket.on('close', (code) => console.log(JSON.stringify({
      types: [greeting, started].map((data) => JSON.parse(data).type),
      recipients: receipt.recipients,
      rule: reconnectRule(code),
      sameExports: plugin === aiCanvasWs && typeof redactedRequest === 'function' && typeof fuzzBroker === 'function' && brokerContract({}).length > 50 && ServerMessage.anyOf.length > 0,
      restart: closeCodes.restart.code === code
    })))
    await app.close()
  `)
  const { stdout } = await run(process.execPath, ['app.js'], { cwd: app })
  t.same(JSON.parse(stdout), {
    types: ['connection', 'ai_start'], recipients: 1, rule: 'soon', sameExports: true, restart: true
  })
})

t.test('an app in CommonJS runs it, as the page about options says', async (t) => {
  const [, code] = /^```js\n([^`]*)```$/m.exec(await readFile(join(root, 'lib/fastify/README.md'), 'utf8'))!
  await writeFile(join(app, 'app.cjs'), code!)
  const { stdout } = await run(process.execPath, ['app.cjs'], { cwd: app })
  t.equal(stdout, 'function\n')
})

t.test('its types hold in an app that checks everything, declarations included', async (t) => {
  await writeFile(join(app, 'types.ts'), `
    import Fastify, { type FastifyInstance } from 'fastify'
    import aiCanvasWs, {
      getWebSocketManager, redactedRequest, type AiCanvasWsOptions, type Authorize, type Metrics, type Receipt, type WebSocketManager
    } from 'ai-canvas-ws'
    import { type ClientMessage, type ServerMessage, type Reconnect, reconnectRule } from 'ai-canvas-ws/protocol'
    import { brokerContract, type BrokerFixture, type BrokerTest } from 'ai-canvas-ws/testing'

    const app: FastifyInstance = Fastify({ logger: { serializers: { req: redactedRequest } } })
    const authorize: Authorize = async ({ userId }, { sessionId }) => sessionId.startsWith(String(userId))
    const options: AiCanvasWsOptions = {
      authenticate: async (request, { token, signal }) => signal.aborted || token === undefined ? null : { userId: request.ip, role: 'x' },
      authorize,
      limits: { burst: 10 },
      stats: { preHandler: (_request, _reply, done) => { done() } },
      websocket: { maxPayload: 1024, perMessageDeflate: false },
      onMessage: (message, client) => { client.send({ type: 'echo', was: message.type }) }
    }
    await app.register(aiCanvasWs, options)
    await app.register(aiCanvasWs)
    const fixture: BrokerFixture = { createBroker: () => { throw new Error('none') } }
    const tests: BrokerTest[] = brokerContract({ create: () => fixture })
    await tests[0]?.run()
    const manager: WebSocketManager = app.wsManager
    const receipt: Receipt = await manager.notifyAIError('s', new Error('x'))
    const recipients: number = receipt.recipients
    const metrics: Metrics = getWebSocketManager().getMetrics()
    const rule: Reconnect = reconnectRule(1012)
    const ping: ClientMessage = { type: 'ping' }
    export function told (message: ServerMessage): string {
      return message.type === 'ai_error' ? message.error.message : message.timestamp
    }
    const injected = await app.injectWS('/ws?sessionId=s', {}, { onInit: (ws) => { ws.on('message', (data) => { data.toString() }) } })
    injected.terminate()
    export { recipients, metrics, rule, ping }

    // @ts-expect-error a message needs a type
    await manager.broadcast({ text: 'x' })
    // @ts-expect-error an option is absent, or it has a value
    await app.register(aiCanvasWs, { path: undefined })
    // @ts-expect-error no such option
    await app.register(aiCanvasWs, { heartbeat: 1 })
    // @ts-expect-error internal
    manager.close()
  `)
  await writeFile(join(app, 'tsconfig.json'), JSON.stringify({
    compilerOptions: {
      target: 'es2023', module: 'nodenext', types: ['node'], strict: true, exactOptionalPropertyTypes: true,
      noUncheckedIndexedAccess: true, skipLibCheck: false, noEmit: true
    },
    files: ['types.ts']
  }))
  const failed = await run(process.execPath, [tsc, '-p', app]).then(() => '', (error: unknown) => (error as { stdout: string }).stdout)
  t.equal(failed, '')
})

t.test('the types of the client and the hooks hold too, without a browser\'s', async (t) => {
  await writeFile(join(app, 'client-types.ts'), `
    import { ClientError, createClient, type Client, type ConnectionState, type Gap, type JobsSnapshot } from 'ai-canvas-ws/client'
    import { AICanvasProvider, useAIWebSocket, useWebSocket } from 'ai-canvas-ws/react'
    import { createElement } from 'react'
    import { WebSocket } from 'ws'

    type Own = { type: 'canvas_saved', version: number }
    const client = createClient<Own>({ url: 'ws://x', WebSocket, getToken: async () => undefined, onGap: (gap: Gap) => gap.reason })
    client.on('ai_complete', ({ result }) => { const chunks: number | undefined = result.chunks; return chunks })
    client.on('canvas_saved', ({ version }) => { version.toFixed() })
    client.on('message', (message) => { if (message.type === 'ai_error') message.error.message.trim() })
    client.on('error', (error) => { error.code satisfies ClientError['code'] })
    client.on('close', ({ code }) => { code.toFixed() })
    const state: ConnectionState = client.state
    const jobs: JobsSnapshot = client.jobStore('s').getSnapshot()
    const stop: () => void = client.subscribe('s')
    const plain: Client = createClient()
    plain.on('anything', (message) => { const field: unknown = message.field; return field })
    plain.send({ type: 'hello', to: 'you' })
    export function Component () {
      const { aiStatus, aiProgress, aiError, subscribe, cancel } = useAIWebSocket('s', { userKey: 'u' })
      const { send, isConnected, lastMessage } = useWebSocket({ reconnect: true, onMessage: ({ type }) => { type.trim() } })
      const known: 'idle' | 'processing' | 'complete' | 'error' = aiStatus
      const count: number | undefined = aiProgress?.chunksReceived
      return createElement(AICanvasProvider, { client: plain }, String([known, count, aiError?.message, subscribe, cancel, send, isConnected, lastMessage?.type]))
    }
    export { state, jobs, stop }

    // @ts-expect-error it must be a string
    client.subscribe(1)
    // @ts-expect-error no such type
    client.on('canvas_saved', ({ name }) => { name })
    // @ts-expect-error no such option
    createClient({ heartbeat: 1 })
    // @ts-expect-error a message needs a type
    client.send({ text: 'x' })
    // @ts-expect-error not of the job's state
    useAIWebSocket('s').aiStatus === 'done'
  `)
  const project = join(app, 'tsconfig.client.json')
  await writeFile(project, JSON.stringify({
    compilerOptions: {
      target: 'es2023', lib: ['es2023'], module: 'nodenext', types: ['node'], strict: true, exactOptionalPropertyTypes: true,
      noUncheckedIndexedAccess: true, skipLibCheck: true, noEmit: true
    },
    files: ['client-types.ts']
  }))
  const failed = await run(process.execPath, [tsc, '-p', project])
    .then(() => '', (error: unknown) => (error as { stdout: string }).stdout)
  t.equal(failed, '')
})

t.test('the client runs, and touches nothing before it connects', async (t) => {
  await writeFile(join(app, 'client.js'), `
    import { createClient } from 'ai-canvas-ws/client'
    import { useWebSocket } from 'ai-canvas-ws/react'
    const client = createClient()
    let code
    try { client.connect() } catch (error) { code = error.code }
    console.log(JSON.stringify([client.state, code, typeof useWebSocket]))
  `)
  const { stdout } = await run(process.execPath, ['client.js'], { cwd: app })
  t.same(JSON.parse(stdout), ['idle', 'no_url', 'function'])
})

t.test('every module with hooks says that it is for client components', async (t) => {
  const modules = (await readdir(join(unpacked, 'dist/react'))).filter((name) => name.endsWith('.js'))
  t.ok(modules.includes('index.js'))
  for (const name of modules) {
    const source = await readFile(join(unpacked, 'dist/react', name), 'utf8')
    const isForClients = name === 'index.js' || source.includes('from \'react\'')
    t.equal(source.startsWith('\'use client\';\n'), isForClients, name)
  }
})

t.test('a front-end project without Fastify runs the client and the hooks', async (t) => {
  const page = join(outside, 'page')
  await mkdir(join(page, 'node_modules'), { recursive: true })
  await cp(unpacked, join(page, 'node_modules/ai-canvas-ws'), { recursive: true })
  await symlink(installed('react'), join(page, 'node_modules/react'))
  await writeFile(join(page, 'page.mjs'), `
    import { createClient } from 'ai-canvas-ws/client'
    import { useAIWebSocket } from 'ai-canvas-ws/react'
    console.log(createClient().state, typeof useAIWebSocket)
  `)
  const { stdout } = await run(process.execPath, ['page.mjs'], { cwd: page })
  t.equal(stdout, 'idle function\n')
})

t.test('a worker without Fastify and ws runs a publisher, and its types hold, declarations included', async (t) => {
  const worker = join(outside, 'worker')
  for (const name of ['@fastify/error', '@sinclair/typebox', '@types/node', 'ioredis', 'secure-json-parse']) {
    await mkdir(dirname(join(worker, 'node_modules', name)), { recursive: true })
    await symlink(installed(name), join(worker, 'node_modules', name))
  }
  await cp(unpacked, join(worker, 'node_modules/ai-canvas-ws'), { recursive: true })
  await writeFile(join(worker, 'package.json'), '{"type":"module"}')
  await writeFile(join(worker, 'worker.ts'), `
    import { createPublisher, redisBroker, type Publisher, type PublisherOptions, type RedisSettings } from 'ai-canvas-ws/redis'

    const redis: RedisSettings = { host: '127.0.0.1', port: 1 }
    const options: PublisherOptions = { redis: { ...redis, maxLoadingRetryTime: 1 }, jobs: { stallAfterMs: 1 } }
    export async function run (publisher: Publisher): Promise<void> {
      for await (const chunk of publisher.trackAI('s', {}, ['a'], { text: (piece) => piece.trim() })) chunk.toUpperCase()
      await publisher.close()
    }
    console.log(typeof redisBroker, await createPublisher(options).catch((error: Error) => error.message))
    // @ts-expect-error there are no connections
    const stats = (publisher: Publisher): unknown => publisher.getStats()
  `)
  await writeFile(join(worker, 'tsconfig.json'), JSON.stringify({
    compilerOptions: { target: 'es2023', module: 'nodenext', types: ['node'], strict: true, exactOptionalPropertyTypes: true, skipLibCheck: false },
    files: ['worker.ts']
  }))
  const failed = await run(process.execPath, [tsc, '-p', worker]).then(() => '', (error: unknown) => (error as { stdout: string }).stdout)
  t.equal(failed, '')
  const { stdout } = await run(process.execPath, ['worker.js'], { cwd: worker })
  t.equal(stdout, 'function Redis can\'t be reached: connect ECONNREFUSED 127.0.0.1:1 (start Redis, or correct the option "redis")\n')
})

t.test('the documented bundle for a plain page is a script that needs nothing else', async (t) => {
  const command = /^npx esbuild (.*)$/m.exec(await readFile(join(root, 'lib/client/README.md'), 'utf8'))![1]!
  await run(join(root, 'node_modules/.bin/esbuild'), command.split(' '), { cwd: app })
  const script = await readFile(join(app, 'ai-canvas.js'), 'utf8')
  // The context contains only what the client needs of a browser to connect, and nothing of Node.js.
  const dialled: unknown[] = []
  class Socket {
    constructor (...args: unknown[]) { dialled.push(args) }
    close (): void { /* There is no connection. */ }
  }
  const page = createContext({
    location: { href: 'https://app.example/' }, WebSocket: Socket, URL, performance, setTimeout, clearTimeout, queueMicrotask, TextEncoder, btoa
  })
  runInContext(`${script}; const client = AICanvas.createClient({ sessionId: 's' }); client.connect(); client.close()`, page)
  t.same(JSON.parse(JSON.stringify(dialled)), [['wss://app.example/ws?sessionId=s', ['ai-canvas.v1']]])
})

t.test('beside the entry points only package.json can be reached', async (t) => {
  const reach = (name: string): Promise<unknown> => run(process.execPath, ['--input-type=module', '-e', `await import('${name}')`], { cwd: app })
  await t.resolves(reach('ai-canvas-ws/package.json').catch((error: unknown) => {
    // The import of a JSON module requires an attribute. The error about its absence shows that the file was found.
    t.match(error, { stderr: /ERR_IMPORT_(?:ATTRIBUTE|ASSERTION)\w*_MISSING/ })
  }))
  await t.rejects(reach('ai-canvas-ws/dist/plugin.js'), /ERR_PACKAGE_PATH_NOT_EXPORTED/)
})

t.test('what it declares is what keeps it safe and typed', async (t) => {
  t.match(manifest.peerDependencies, { fastify: /^\^5/ })
  t.same(manifest.peerDependenciesMeta, { fastify: { optional: true }, ioredis: { optional: true }, react: { optional: true } }, 'a page needs no Fastify, a server no React')
  t.ok(manifest.dependencies['@types/ws'], 'the public options name types of ws')
})
