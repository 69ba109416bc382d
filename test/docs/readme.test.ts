import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Value } from '@sinclair/typebox/value'
import { defaults } from 'ai-canvas-ws'
import t, { type Test } from 'tap'
import { defaults as clientDefaults } from '../../lib/client/options.js'
import { targetUrl } from '../../lib/client/target.js'
import { errors } from '../../lib/util/errors.js'
import { StatsSchema } from '../../lib/fastify/stats-route.js'
import { WebSocketManager } from '../../lib/manager/manager.js'
import { startApp } from '../support/app.js'
import { open, type Message } from '../support/ws-client.js'
import { bounds, others } from '../package/size.js'
import { Page } from './markdown.js'
import { documentedDefaultsOf, propertiesOf, runSnippet, typeErrors } from './snippets.js'

const page = new Page('README.md')
const pages = new Map([['README.md', page], ['lib/protocol/README.md', new Page('lib/protocol/README.md')]])
const read = (path: string): string => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8')

/** The blocks of one language below a heading. */
const below = (heading: string, language = 'ts'): string[] => {
  const found = page.blocks(language).filter((block) => block.heading === heading).map(({ text }) => text)
  if (found.length === 0) throw new Error(`no ${language} block below "${heading}"`)
  return found
}

t.test('every block of TypeScript holds before the compiler', async (t) => {
  const blocks = [...pages].flatMap(([path, page]) =>
    page.blocks('ts').map(({ text, line }): [string, string] => [`${path.replaceAll('/', '-')}-line-${line}`, text]))
  t.ok(blocks.length > 10, 'there are some')
  t.same(await typeErrors(new Map(blocks)), [])
  t.match(await typeErrors(new Map([['wrong', 'app.wsManager.notifyAIStart(1, {})']])), [/^wrong\.ts:1 Argument of type 'number'/],
    'and a wrong one would not')
})

t.test('it uses no other languages for code', async (t) => {
  for (const page of pages.values()) {
    t.same(page.blocks().filter(({ language }) => !['ts', 'sh', 'json', 'text', 'nginx', 'haproxy', 'caddyfile'].includes(language)), [])
  }
})

// ---- the tables

t.test('the table of errors is that of the code', async (t) => {
  t.same(page.table('Errors').map(({ code }) => code), Object.values(errors).map((Type) => new Type('', '').code))
})

t.test('the table of options names every option, with its default', async (t) => {
  const rows = page.table('Options')
  const expected = propertiesOf('lib/options.ts', 'AiCanvasWsOptions').flatMap((name) =>
    name === 'limits' || name === 'delivery' || name === 'history' || name === 'jobs'
      ? Object.keys(defaults[name]).map((field) => `${name}.${field}`)
      : name)
  t.same(rows.map(({ option }) => option).sort(), expected.sort())

  const { limits, delivery, history, jobs, heartbeatIntervalMs, closeTimeoutMs, path, statsPath } = defaults
  const given: Record<string, unknown> = { path, stats: statsPath, heartbeatIntervalMs, closeTimeoutMs }
  for (const [group, values] of Object.entries({ limits, delivery, history, jobs })) {
    for (const [field, value] of Object.entries(values)) given[`${group}.${field}`] = value
  }
  for (const [option, value] of Object.entries(given)) {
    const shown = rows.find((row) => row.option === option)?.default ?? ''
    t.equal(typeof value === 'number' ? Number(shown.replaceAll('_', '')) : shown, value, option)
  }
})

/** The names in a cell that lists some. */
const namesIn = (cell = ''): string[] => cell.replaceAll('`', '').split(', ')

t.test('the table of the client\'s options names every option, with its default', async (t) => {
  const rows = page.table('Client options')
  const names = propertiesOf('lib/client/options.ts', 'ClientOptions')
  t.same(rows.map(({ option }) => option), names, 'in the order of the code')
  const address = { userId: undefined, sessionId: undefined, since: undefined, have: undefined, userSince: undefined, attempt: 0 }
  const given: Record<string, string> = {
    ...Object.fromEntries(Object.entries(clientDefaults).map(([name, value]) => [name, String(value)])),
    url: new URL(targetUrl(undefined, 'https://page.example/x', address)).pathname,
    WebSocket: 'the global one'
  }
  t.same(Object.fromEntries(rows.map((row) => [row.option, row.default])), Object.fromEntries(names.map((name) => [name, given[name] ?? 'none'])))
  const documented = documentedDefaultsOf('lib/client/options.ts', 'ClientOptions')
  t.match(documented, { ...given, url: /^'\/ws' on the page's own host/, WebSocket: 'globalThis.WebSocket' }, 'as the doc comments say')
  t.same(Object.keys(documented).sort(), Object.keys(given).sort())
})

t.test('the table of the hooks\' options names every option', async (t) => {
  const rows = page.table('React options')
  const names = rows.flatMap(({ option }) => namesIn(option))
  t.same(names.sort(), propertiesOf('lib/react/use-websocket.ts', 'UseWebSocketOptions').sort())
  t.same(names.filter((name) => name !== 'sessionId'), propertiesOf('lib/react/attachment.ts', 'HookOptions').sort(), 'useAIWebSocket takes the same ones')
  const client = page.table('Client options')
  for (const row of rows.filter((row) => row.default === 'none')) {
    for (const name of namesIn(row.option)) t.match(client.find(({ option }) => option === name)?.default ?? 'none', 'none', name)
  }
})

t.test('the tables of the client and of the hooks name all that they have', async (t) => {
  const client = page.table('What the client does')
  const members = client.map((row) => /^`?(\w+)/.exec(row['method or property']!)![1]!)
  t.same(members.sort(), propertiesOf('lib/client/client.ts', 'Client').sort())
  const { '': metrics } = client.find((row) => row['method or property'] === 'metrics')!
  t.same(namesIn(metrics).sort(), propertiesOf('lib/client/client.ts', 'ClientMetrics').sort())
  const [plain, ai] = page.table('React')
  t.same(namesIn(plain!.gives).sort(), propertiesOf('lib/react/use-websocket.ts', 'UseWebSocket').sort())
  t.same(namesIn(ai!.gives).sort(), propertiesOf('lib/react/use-ai-websocket.ts', 'UseAIWebSocket').sort())
})

t.test('the sizes that it gives are those that are held, and were measured', async (t) => {
  const [size] = page.table('Compared with others')
  const theirs = Object.entries(size!).slice(2)
  t.equal(size!['this client'], `up to ${bounds.client / 1024} KB, hooks up to ${bounds.react / 1024} KB more`)
  t.ok(page.text.includes(`up to ${bounds.client / 1024} KB, with no\ndependencies`) && page.text.includes(`: up to ${bounds.react / 1024} KB more.`))
  t.same(theirs.map(([name]) => name), others.map(([name, version]) => `${name} ${version}`), 'of the versions that the command takes')
  for (const [, theirSize] of theirs) t.match(theirSize, /^\d+\.\d KB$/)
})

t.test('the text about ws\'s options gives the defaults', async (t) => {
  const { perMessageDeflate: { threshold, serverMaxWindowBits, zlibDeflateOptions: { level } } } = defaults.websocket
  const { text } = page
  t.ok(text.replaceAll('\n', ' ').includes(`\`threshold: ${threshold}\`, level ${level}, a window of ${serverMaxWindowBits} bits`))
  t.ok(text.includes(`${defaults.maxPayload / 1024} KiB`))
  t.ok(text.includes(`${defaults.maxPayloadWithOnMessage / 2 ** 20} MiB`))
})

t.test('the table of methods names every one', async (t) => {
  const own = Object.getOwnPropertyNames(WebSocketManager.prototype).filter((name) => !['constructor', 'close'].includes(name))
  t.same(page.table('Sending').map(({ method }) => /^\w+/.exec(method!)?.[0]).sort(), own.sort())
})

t.test('the tables of a receipt and of the metrics name every field', async (t) => {
  t.same(page.table('Receipts').map(({ field }) => field).sort(), propertiesOf('lib/manager/notifier.ts', 'Receipt').sort())
  const { app } = await startApp(t)
  t.same(page.table('Stats, metrics, logs').map(({ field }) => field), Object.keys(app.wsManager.getMetrics()))
})

t.test('the table of an outcome names every field', async (t) => {
  const names = ['AICompletion', 'AIFailure'].flatMap((name) => propertiesOf('lib/manager/ai-run.ts', name))
  t.same(page.table('Running a job').map(({ field }) => field).sort(), [...new Set(names)].sort())
})

t.test('the stats are what the route answers', async (t) => {
  const [example] = below('Stats, metrics, logs', 'json').map((text) => JSON.parse(text) as object)
  t.ok(Value.Check(StatsSchema, example))
})

// ---- commands and links

t.test('the commands for the tests are those of .ci/run', async (t) => {
  const commands = page.blocks('sh').find(({ text }) => text.endsWith('npm test'))?.text.split(' && ')
  const lines = read('.ci/run').split('\n').filter((line) => line.startsWith('npm '))
  t.same(commands, ['npm ci', 'npm run setup', 'npm test'])
  t.same(lines, [...commands!, 'npm run check'])
})

t.test('every command, file and chapter that it names is there', async (t) => {
  const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> }
  for (const [, name] of page.text.matchAll(/npm run ([\w:-]*\w)/g)) t.ok(Object.hasOwn(scripts, name!), `npm run ${name!}`)
  for (const [from, { text }] of pages) {
    for (const [, link] of text.matchAll(/\]\((?!https?:)([^)]*)\)/g)) {
      const [path, anchor] = link!.split('#')
      const target = path === '' ? from : new URL(path!, `file:///${from}`).pathname.slice(1)
      t.ok(existsSync(new URL(`../../${target}`, import.meta.url)), `${from}: ${link!}`)
      if (anchor !== undefined) t.ok(pages.get(target)!.headings.map(anchorOf).includes(anchor), `${from}: ${link!}`)
    }
  }
  const task = JSON.parse(/-d '(.*)'/.exec(below('The app in this repository', 'sh').join('\n'))![1]!) as { targetFile: string }
  t.ok(existsSync(new URL(`../../${task.targetFile}`, import.meta.url)), 'the file that the agent is asked to document')
})

/** As GitHub makes them. */
function anchorOf (heading: string): string {
  return heading.toLowerCase().replace(/[^\w\- ]/g, '').replaceAll(' ', '-')
}

t.test('the transcript of wscat is what a client sees', async (t) => {
  const { url } = await startApp(t)
  const client = open(t, url('?sessionId=test_123'))
  const [transcript] = below('Troubleshooting', 'text')
  for (const line of transcript!.split('\n')) {
    if (line.startsWith('> ')) {
      client.send(line.slice(2))
    } else {
      const shown = JSON.parse(line.slice(2)) as Message
      const another = Object.entries(shown).filter(([name]) => ['clientId', 'timestamp', 'epoch'].includes(name))
      t.strictSame({ ...await client.next(), ...Object.fromEntries(another) as object }, shown, line)
    }
  }
})

// ---- the blocks, run

/** Before a block: a browser's `WebSocket` that goes to the app, whatever host the block names; and the app of the text. */
const BROWSER = `
  import { once } from 'node:events'
  import { WebSocket as WS } from 'ws'
  const here = { origin: '' }
  Object.assign(globalThis, { WebSocket: class extends WS {
    constructor (url, protocols) { super(url.replace(/^wss?:\\/\\/[^/]+/, here.origin), protocols) }
  } })
  const listening = (app) => { here.origin = 'ws://127.0.0.1:' + app.server.address().port }
`
const APP = `${BROWSER}
  import Fastify from 'fastify'
  import aiCanvasWs from 'ai-canvas-ws'
  const sessionId = 's'
  const app = Fastify()
`
/** After the registration: a client of session `s`, and the messages that it gets. */
const FOLLOW = `
  await app.listen({ port: 0, host: '127.0.0.1' })
  listening(app)
  const client = new WebSocket('ws://x/ws?sessionId=s')
  const messages = []
  client.on('message', (data) => messages.push(JSON.parse(String(data))))
  await once(client, 'message')
`
/** Ends it, and prints what the client got. */
const REPORT = `
  await app.close()
  if (client.readyState !== WS.CLOSED) await once(client, 'close')
  console.log(JSON.stringify(messages.slice(1)))
`

const anyPort = (code: string): string => code.replace('port: 3001', 'port: 0, host: \'127.0.0.1\'')
const messagesOf = async (t: Parameters<typeof runSnippet>[0], code: string): Promise<unknown[]> => JSON.parse(await runSnippet(t, code)) as unknown[]

t.test('the quick start runs: the page logs that the job is done', async (t) => {
  const [server, browser] = below('Quick start')
  const output = await runSnippet(t, `${BROWSER}${anyPort(server!)}\nlistening(app)\n${browser!}\n
    await once(ws, 'message')
    await app.inject({ method: 'POST', url: '/work' })
    await app.close()
    if (ws.readyState !== WS.CLOSED) await once(ws, 'close')`)
  t.equal(output, 'done { contentLength: 5000 }\n')
})

t.test('the blocks about sending run', async (t) => {
  const [report, error, batch] = below('Sending')
  const [receipt] = below('Receipts')
  const messages = await messagesOf(t, `${APP}
    await app.register(aiCanvasWs)
    ${report!}
    ${FOLLOW}
    const callTheModel = async () => { throw Object.assign(new Error('slow down'), { status: 429 }) }
    reportProgress(sessionId, 7)
    ${error!}
    ${batch!}
    ${receipt!}
    if (recipients !== 1 || typeof epoch !== 'string' || seq !== 2) throw new Error('another receipt')
    ${REPORT}`)
  t.match(messages, [
    { type: 'ai_progress', progress: { chunksReceived: 7 } },
    { type: 'ai_error', error: { message: 'slow down', type: 'rate_limit_error', retryable: true } },
    { type: 'batch_update', messages: [{ type: 'cursor', x: 10, y: 20 }, { type: 'cursor', x: 12, y: 20 }] },
    { type: 'ai_complete', result: { chunks: 100 } }
  ])
})

/** A model behind OpenAI's API, for programs that are given this environment. `ends`: whether it comes to an end by itself. */
async function modelFor (t: Test, { ends }: { ends: boolean }): Promise<{ env: NodeJS.ProcessEnv, stopped: Promise<void> }> {
  let stop: () => void = () => undefined
  const stopped = new Promise<void>((resolve) => { stop = resolve })
  const model = createServer((request, response) => {
    request.resume()
    response.setHeader('content-type', 'text/event-stream')
    for (const content of ['Once ', 'upon']) response.write(`data: ${JSON.stringify({ choices: [{ index: 0, delta: { content } }] })}\n\n`)
    if (ends) response.end(`data: ${JSON.stringify({ choices: [], usage: { prompt_tokens: 7, completion_tokens: 2 } })}\n\ndata: [DONE]\n\n`)
    response.on('close', stop)
  })
  model.listen(0, '127.0.0.1')
  await once(model, 'listening')
  t.teardown(() => {
    model.closeAllConnections()
    model.close()
  })
  const { port } = model.address() as AddressInfo
  return { env: { OPENAI_API_KEY: 'none', OPENAI_BASE_URL: `http://127.0.0.1:${port}/v1` }, stopped }
}

t.test('the blocks about a job in the background run: the page hears of its end, also of a cancel', async (t) => {
  const [server, browser, reasons, awaited] = below('Running a job')
  const listen = `
    await app.register(aiCanvasWs, { allowCancel: true })
    ${server!}
    await app.listen({ port: 0, host: '127.0.0.1' })
    listening(app)
    process.on('unhandledRejection', () => { console.log('unhandled') })
    ${browser!.replace('\'http://localhost:3001', '\'http://127.0.0.1:\' + app.server.address().port + \'')}
    const seen = []
    ws.on('message', (data) => seen.push(JSON.parse(String(data))))
    const next = async (type) => {
      while (!seen.some((message) => message.type === type)) await once(ws, 'message')
      return seen.find((message) => message.type === type)
    }`
  const well = await modelFor(t, { ends: true })
  t.equal(await runSnippet(t, `${APP}${listen}
    await next('ai_complete')
    await app.close()`, well.env), 'Background task completed!\n')

  t.equal(await runSnippet(t, `${APP}
    import OpenAI from 'openai'
    const openai = new OpenAI()
    await app.register(aiCanvasWs)
    ${reasons!}
    await app.close()`, well.env), 'false { inputTokens: 7, outputTokens: 2 }\n')

  const endless = await modelFor(t, { ends: false })
  t.equal(await runSnippet(t, `${APP}${listen}
    await next('ai_start')
    ws.send('{"type":"cancel","sessionId":"background_task_123"}')
    console.log(JSON.stringify((await next('ai_error')).error))
    await app.close()`, endless.env), '{"message":"the job was cancelled","type":"cancelled","retryable":true}\n')
  await endless.stopped

  t.equal(await runSnippet(t, `${APP}
    await app.register(aiCanvasWs)
    ${awaited!}
    await app.close()
    await (async () => { ${awaited!} })()`), 'Once upon a time { contentLength: 16, chunks: 3 }\nerror interrupted true\n')
})

t.test('the block about reading the stream runs, and a cancel does not end the process', async (t) => {
  const [imports] = below('Running a job')
  const [server] = below('Reading the stream')
  const program = (end: string): string => `${APP}
    await app.register(aiCanvasWs, { allowCancel: true })
    ${imports!.slice(0, imports!.indexOf('app.post'))}
    ${server!}
    ${FOLLOW}
    const answer = fetch('http://127.0.0.1:' + app.server.address().port + '/api/agent/stream', {
      method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"sessionId":"s","prompt":"x"}'
    })
    ${end}
    console.log(await (await answer).text())
    await app.close()
    console.log(messages.at(-1).type)`
  const well = await modelFor(t, { ends: true })
  t.equal(await runSnippet(t, program(''), well.env), 'Once upon\nai_complete\n')
  const endless = await modelFor(t, { ends: false })
  t.equal(await runSnippet(t, program(`
    while (!messages.some(({ type }) => type === 'ai_progress')) await once(client, 'message')
    await answer
    client.send('{"type":"cancel","sessionId":"s"}')`), endless.env), 'Once upon\nai_error\n')
  await endless.stopped
})

t.test('the blocks about messages from clients run', async (t) => {
  const [thanks] = below('Options')
  const [cursor] = below('Messages from clients')
  t.match(await messagesOf(t, `${APP}${thanks!}${FOLLOW}
    client.send('{"type":"flowers"}')
    await once(client, 'message')
    ${REPORT}`), [{ type: 'thanks', for: 'flowers' }])
  t.match(await messagesOf(t, `${APP}${cursor!}${FOLLOW}
    client.send('{"type":"cursor","x":3}')
    client.send('{"type":"flowers"}')
    while (messages.length < 3) await once(client, 'message')
    ${REPORT}`), [{ type: 'cursor', x: 3, sessionId: 's' }, { type: 'error', code: 'unknown_type' }])
})

t.test('the blocks about the client run, in a page and in Node.js', async (t) => {
  const [page, typed] = below('Client').concat(below('Typed messages'))
  const [node] = below('In Node.js')
  const listen = 'await app.register(aiCanvasWs)\nawait app.listen({ port: 0, host: \'127.0.0.1\' })\nlistening(app)\n'
  const output = await runSnippet(t, `${APP}${listen}
    Object.assign(globalThis, { location: { href: 'https://page.example/' } })
    ${page!}
    await new Promise((resolve) => client.on('open', resolve))
    app.wsManager.notifyAIStart(sessionId, { prompt: 'x' })
    app.wsManager.notifyAIProgress(sessionId, { chunksReceived: 25 })
    app.wsManager.notifyAIComplete(sessionId, { chunks: 100 })
    await new Promise((resolve) => client.on('ai_complete', resolve))
    client.close()
    await app.close()`)
  t.equal(output, '25\ndone { chunks: 100 }\n')

  t.equal(await runSnippet(t, `${APP}${listen}
    Object.assign(globalThis, { location: { href: 'https://page.example/' } })
    ${typed!}
    client.connect()
    await new Promise((resolve) => client.on('open', resolve))
    await app.wsManager.broadcastToSession(sessionId, { type: 'canvas_saved', version: 7 })
    await new Promise((resolve) => client.on('canvas_saved', resolve))
    client.close()
    await app.close()`), '8\n')

  const [store] = below('The job store')
  t.match(await runSnippet(t, `${APP}${listen}
    ${store!.replace('\'ws://localhost:3001/ws\'', '`${here.origin}/ws`')}
    const done = new Promise((resolve) => client.on('ai_complete', resolve))
    await new Promise((resolve) => client.on('open', resolve))
    await app.wsManager.notifyAIComplete(sessionId, { chunks: 100 })
    await done
    stop()
    client.close()
    await app.close()`), /^(?:loading\n)+no job yet\ncomplete\n$/)

  const [past] = below('Messages from the past')
  t.equal(await runSnippet(t, `${APP}${listen}
    Object.assign(globalThis, { location: { href: 'https://page.example/' } })
    await app.wsManager.notifyAIComplete(sessionId, { chunks: 100 })
    ${past!}
    let ends = 0
    const both = new Promise((resolve) => client.on('ai_complete', () => { if (++ends === 2) resolve() }))
    const first = new Promise((resolve) => client.on('ai_complete', resolve))
    client.connect()
    await first
    await app.wsManager.notifyAIComplete(sessionId, { chunks: 100 })
    await both
    client.close()
    await app.close()`), 's is done\n')

  t.equal(await runSnippet(t, `${APP}const token = 'a token'\n${listen}
    ${node!.replace('\'ws://localhost:3001/ws\'', '`${here.origin}/ws`')}
    await new Promise((resolve) => client.on('open', resolve))
    await new Promise((resolve) => client.on('subscribed', resolve))
    await app.wsManager.notifyAIComplete(sessionId, { chunks: 100 })
    await new Promise((resolve) => client.on('close', resolve))
    console.log(client.state, client.reason)
    await app.close()`), 'closed called\n')
})

t.test('the block with tokens runs: in the subprotocol, in the query, and without', async (t) => {
  const [server, subprotocol, query] = below('Security')
  const code = `${BROWSER}${anyPort(server!)}\nlistening(app)
    const token = app.jwt.sign({ sub: 'user_1' }, { expiresIn: 60 })
    ${subprotocol!}
    ${query!}
    const seen = await Promise.all([connect(token), ws].map(async (socket) => {
      const [data] = await once(socket, 'message')
      return [JSON.parse(String(data)).sessionId, socket.protocol]
    }))
    for (const wrong of [app.jwt.sign({ sub: 'user_1' }), 'forged']) seen.push((await once(connect(wrong), 'close'))[0])
    const other = connect(app.jwt.sign({ sub: 'user_2' }, { expiresIn: 60 }))
    const messages = []
    other.on('message', (data) => messages.push(JSON.parse(String(data))))
    while (messages.length < 2) await once(other, 'message')
    seen.push(messages[1].code)
    await app.close()
    console.log(JSON.stringify({ seen, token }))`
  const lines = (await runSnippet(t, code, { JWT_SECRET: 'a secret of this test, long enough' })).trim().split('\n')
  const at = lines.findIndex((line) => line.startsWith('{"seen"'))
  const [result] = lines.splice(at, 1)
  const { seen, token } = JSON.parse(result!) as { seen: unknown[], token: string }
  t.same(seen, [['user_1:draft', 'ai-canvas.v1'], ['user_1:draft', ''], 1008, 1008, 'forbidden'])
  t.match(lines.join('\n'), /incoming request/, 'the app logs')
  t.notOk(lines.join('\n').includes(token), 'and no token is in its log')
  await t.rejects(runSnippet(t, server!, { JWT_SECRET: undefined }), /JWT_SECRET is not set/)
})

t.test('the blocks about revoking and guarding run', async (t) => {
  const [revoke] = below('Security').filter((text) => text.includes('revoke'))
  const [guarded] = below('Stats, metrics, logs')
  t.same(await messagesOf(t, `${APP}await app.register(aiCanvasWs)${FOLLOW}${revoke!}${REPORT}`), [])
  const output = await runSnippet(t, `${APP}
    const findUser = async () => null
    const isOperator = (request) => request.headers.operator === 'yes'
    ${guarded!}
    for (const operator of ['yes', 'no']) {
      console.log((await app.inject({ url: '/api/ws/stats?userId=user_1', headers: { operator } })).statusCode)
    }`)
  t.equal(output, '200\n403\n')
})

t.test('the tests that it shows pass, and can fail', async (t) => {
  const [code] = below('Testing an app that uses it')
  t.match(await runSnippet(t, code!), /pass 2\n/)
  await t.rejects(runSnippet(t, code!.replace('\'connection\', \'ai_complete\'', '\'ai_complete\'')), 'with another expectation')
})
