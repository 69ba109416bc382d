import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { NOT_MEASURED } from '../../support/child.js'
import { connect } from '../../support/ws-client.js'
import { runExample } from '../support/example.js'

// Each server loads the compiler when it starts.
t.setTimeout(180_000)

const ROOT = join(import.meta.dirname, '../../..')

interface Server {
  process: ChildProcessWithoutNullStreams
  port: string
  out: () => string
  /** Resolves when the process and all its child processes have exited. */
  ended: Promise<{ code: number | null, signal: string | null, errors: string }>
}

/** Starts the server like `npm start` in a terminal: in its own process group, which receives Ctrl+C. */
async function start (t: Test, env: NodeJS.ProcessEnv = {}): Promise<Server> {
  const child = spawn(process.execPath, ['--import', 'tsx', 'examples/canvas/server.ts'], {
    cwd: ROOT, detached: true, env: { ...process.env, ...NOT_MEASURED, NODE_OPTIONS: '', OPENAI_BASE_URL: '', OPENAI_API_KEY: '', PORT: '0', ...env }
  })
  let out = ''
  let errors = ''
  child.stderr.on('data', (data: Buffer) => { errors += data.toString() })
  // Stdout and stderr close when the last process that shares them has exited.
  const ended = once(child, 'close').then(([code, signal]: Array<number | string | null>) => (
    { code: code as number | null, signal: signal as string | null, errors }
  ))
  t.teardown(async () => {
    child.kill('SIGKILL')
    await ended
  })
  await new Promise<void>((resolve) => {
    child.stdout.on('data', (data: Buffer) => {
      out += data.toString()
      if (out.includes('wscat')) resolve()
    })
  })
  return { process: child, port: /localhost:(\d+)/.exec(out)![1]!, out: () => out, ended }
}

async function generate (port: string, sessionId: string): Promise<void> {
  const response = await fetch(`http://localhost:${port}/api/agent/generate`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ sessionId, mode: 'document', targetFile: 'lib/manager/manager.ts' })
  })
  if (response.status !== 202) throw new Error(`no job was started: ${await response.text()}`)
}

t.test('it prints its URL and what to try, and nothing for each request', async (t) => {
  const server = await start(t)
  const { port } = server
  for (let i = 0; i < 3; i++) await (await fetch(`http://localhost:${port}/api/ws/stats`)).text()
  const client = await connect(t, `ws://localhost:${port}/ws?sessionId=s`)
  await generate(port, 's')
  await client.nextOf('ai_progress')
  t.equal(server.out(), `AI Canvas: open http://localhost:${port}/\nAt a second terminal: npx wscat -c 'ws://localhost:${port}/ws?sessionId=my_session'\n`)

  const second = runExample(t, { PORT: port })
  t.same(await second.ended, [1, null, `AI Canvas: port ${port} is taken: start with another one, such as PORT=${Number(port) + 1} npm start\n`])

  process.kill(-server.process.pid!, 'SIGINT')
  const since = performance.now()
  t.match((await client.nextOf('ai_error')), { error: { type: 'server_closing' } }, 'the job states why it ends')
  t.match(await client.closed, { code: 1012 })
  t.same(await server.ended, { code: 0, signal: null, errors: '' })
  const ms = performance.now() - since
  t.comment(`Ctrl+C ended it after ${Math.round(ms)} ms`)
  t.ok(ms < 5_000, `${ms} ms`)
})

t.test('with a lower log level, polling does not fill the log', async (t) => {
  const server = await start(t, { LOG_LEVEL: 'info' })
  for (const path of ['/api/ws/stats', '/api/about', '/nowhere']) await (await fetch(`http://localhost:${server.port}${path}`)).text()
  process.kill(server.process.pid!, 'SIGTERM')
  await server.ended
  t.match(server.out(), '/nowhere')
  t.notMatch(server.out(), '/api/ws/stats')
  t.notMatch(server.out(), '/api/about')
})

t.test('kill -9 leaves no process behind, and no stack trace', async (t) => {
  const server = await start(t)
  const client = await connect(t, `ws://localhost:${server.port}/ws?sessionId=s`)
  await generate(server.port, 's')
  await client.nextOf('ai_progress')
  process.kill(server.process.pid!, 'SIGKILL')
  t.same(await server.ended, { code: null, signal: 'SIGKILL', errors: '' })
})
