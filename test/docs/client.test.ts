import { readFileSync } from 'node:fs'
import t from 'tap'
import { defaults as clientDefaults } from '../../lib/client/options.js'
import { targetUrl } from '../../lib/client/target.js'
import { bounds, others } from '../package/size.js'
import { namesIn, Page } from './markdown.js'
import { documentedDefaultsOf, propertiesOf, runSnippet } from './snippets.js'
import { APP } from './stage.js'

const page = new Page('lib/client/README.md')

t.test('the table of the client\'s options names every option, with its default', async (t) => {
  const rows = page.table('Options')
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
  t.match(documented, { ...given, url: /^'\/ws' on the page's (?:own )?host/, WebSocket: 'globalThis.WebSocket' }, 'as the doc comments say')
  t.same(Object.keys(documented).sort(), Object.keys(given).sort())
})

t.test('the table of the client names all that it has', async (t) => {
  const client = page.table('Methods and properties')
  const members = client.map((row) => /^`?(\w+)/.exec(row['method or property']!)![1]!)
  t.same(members.sort(), propertiesOf('lib/client/client.ts', 'Client').sort())
  const { '': metrics } = client.find((row) => row['method or property'] === 'metrics')!
  t.same(namesIn(metrics).sort(), propertiesOf('lib/client/client.ts', 'ClientMetrics').sort())
})

t.test('the tables of a job and of a session\'s jobs name every field', async (t) => {
  t.same(page.table('The shape of a job').map(({ field }) => field), propertiesOf('lib/client/jobs.ts', 'JobView'))
  t.same(page.table('The shape of a session\'s jobs').map(({ field }) => field), propertiesOf('lib/client/jobs.ts', 'JobsSnapshot'))
})

t.test('the table of errors names every code of the client', async (t) => {
  const source = readFileSync(new URL('../../lib/client/errors.ts', import.meta.url), 'utf8')
  const codes = /ClientErrorCode = ErrorCode([^]*?)\n\n/.exec(source)![1]!.match(/\w+/g)
  t.same(page.table('Errors of the client').map(({ code }) => code), codes)
})

t.test('the sizes that it gives are those that are held, and were measured', async (t) => {
  const [size] = page.table('Compared with others')
  const theirs = Object.entries(size!).slice(2)
  t.equal(size!['this client'], `up to ${bounds.client / 1024} KB, hooks up to ${bounds.react / 1024} KB more`)
  t.ok(page.text.includes(`up to ${bounds.client / 1024} KB, with no\ndependencies`))
  t.same(theirs.map(([name]) => name), others.map(([name, version]) => `${name} ${version}`), 'of the versions that the command takes')
  for (const [, theirSize] of theirs) t.match(theirSize, /^\d+\.\d KB$/)
})

t.test('the blocks about the client run, in a page and in Node.js', async (t) => {
  const [first] = page.below('Client')
  const [typed] = page.below('Typed messages')
  const [node] = page.below('In Node.js')
  const listen = 'await app.register(aiCanvasWs)\nawait app.listen({ port: 0, host: \'127.0.0.1\' })\nlistening(app)\n'
  const output = await runSnippet(t, `${APP}${listen}
    Object.assign(globalThis, { location: { href: 'https://page.example/' } })
    ${first!}
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

  const [store] = page.below('The job store')
  t.match(await runSnippet(t, `${APP}${listen}
    ${store!.replace('\'ws://localhost:3001/ws\'', '`${here.origin}/ws`')}
    const done = new Promise((resolve) => client.on('ai_complete', resolve))
    await new Promise((resolve) => client.on('open', resolve))
    await app.wsManager.notifyAIComplete(sessionId, { chunks: 100 })
    await done
    stop()
    client.close()
    await app.close()`), /^(?:loading\n)+no job yet\ncomplete\n$/)

  const [past] = page.below('Messages from the past')
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
