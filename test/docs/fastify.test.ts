import { defaults } from 'ai-canvas-ws'
import t from 'tap'
import { ReceiptSchema } from '../../lib/fastify/publish-route.js'
import { startApp } from '../support/app.js'
import { open, type Message } from '../support/ws-client.js'
import { Page } from './markdown.js'
import { propertiesOf, runSnippet } from './snippets.js'
import { anyPort, APP, BROWSER, FOLLOW, messagesOf, REPORT } from './stage.js'

const page = new Page('lib/fastify/README.md')

t.test('the table of options names every option, with its default', async (t) => {
  const rows = page.table('Options')
  const expected = propertiesOf('lib/options.ts', 'AiCanvasWsOptions').flatMap((name) =>
    name === 'limits' || name === 'delivery' || name === 'history' || name === 'jobs'
      ? Object.keys(defaults[name]).map((field) => `${name}.${field}`)
      : name)
  t.same(rows.map(({ option }) => option).sort(), expected.sort())

  const { limits, delivery, history, jobs, heartbeatIntervalMs, closeTimeoutMs, path, statsPath } = defaults
  const given: Record<string, unknown> = { path, stats: statsPath, publish: 'false', heartbeatIntervalMs, closeTimeoutMs }
  for (const [group, values] of Object.entries({ limits, delivery, history, jobs })) {
    for (const [field, value] of Object.entries(values)) given[`${group}.${field}`] = value
  }
  for (const [option, value] of Object.entries(given)) {
    const shown = rows.find((row) => row.option === option)?.default ?? ''
    t.equal(typeof value === 'number' ? Number(shown.replaceAll('_', '')) : shown, value, option)
  }
})

t.test('the text about ws\'s options gives the defaults', async (t) => {
  const { perMessageDeflate: { threshold, serverMaxWindowBits, zlibDeflateOptions: { level } } } = defaults.websocket
  const { text } = page
  t.ok(text.replaceAll('\n', ' ').includes(`\`threshold: ${threshold}\`, level ${level}, a window of ${serverMaxWindowBits} bits`))
  t.ok(text.includes(`${defaults.maxPayload / 1024} KiB`))
  t.ok(text.includes(`${defaults.maxPayloadWithOnMessage / 2 ** 20} MiB`))
})

t.test('the transcript of wscat is what a client sees', async (t) => {
  const { url } = await startApp(t)
  const client = open(t, url('?sessionId=test_123'))
  const [transcript] = page.below('Troubleshooting', 'text')
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

t.test('the blocks about messages from clients run', async (t) => {
  const [thanks] = page.below('Options')
  const [cursor] = page.below('Messages from clients')
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

t.test('the block with tokens runs: in the subprotocol, in the query, and without', async (t) => {
  const [server, subprotocol, query] = page.below('Security')
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

t.test('the blocks about workers over HTTP run: with the secret, a request is published', async (t) => {
  const [server] = page.below('Workers over HTTP')
  const [curl] = page.below('Workers over HTTP', 'sh')
  const [, key, body] = /idempotency-key: (\S+)'[^]*-d '(.*)'/.exec(curl!)!
  const code = `${APP}${server!}${FOLLOW}
    const send = (secret) => fetch(here.origin.replace('ws', 'http') + '${defaults.publishPath}', {
      method: 'POST', body: '${body!}', headers: { authorization: 'Bearer ' + secret, 'content-type': 'application/json', 'idempotency-key': '${key!}' }
    })
    const statuses = [(await send('guess')).status, (await send(process.env.PUBLISH_SECRET)).status, (await send(process.env.PUBLISH_SECRET)).status]
    while (messages.length < 2) await once(client, 'message')
    await app.close()
    console.log(JSON.stringify([statuses, messages.slice(1)]))`
  t.match(JSON.parse(await runSnippet(t, code, { PUBLISH_SECRET: 'a secret of this test' })), [[401, 200, 200], [{ type: 'ai_start', jobId: 'job_1' }]])
  await t.rejects(runSnippet(t, code, { PUBLISH_SECRET: undefined }), /PUBLISH_SECRET is not set/)
})

t.test('the text about workers over HTTP names every request, and the fields of a receipt', (t) => {
  const rows = page.table('Workers over HTTP')
  t.same(rows.map((row) => /wsManager\.(\w+)/.exec(row['the same as'] ?? '')?.[1]), [
    'notifyAIStart', 'notifyAIProgress', 'notifyAIComplete', 'notifyAIError', 'broadcastToSession', 'broadcastToUser', 'broadcast'
  ])
  const fields = /receipt\]\([^)]*\) with (.*?)\. /.exec(page.text)?.[1] ?? ''
  t.same([...fields.matchAll(/`(\w+)`/g)].map(([, name]) => name), Object.keys(ReceiptSchema.properties))
  t.end()
})

t.test('the block about revoking runs', async (t) => {
  const [revoke] = page.below('Revoking access')
  t.same(await messagesOf(t, `${APP}await app.register(aiCanvasWs)${FOLLOW}${revoke!}${REPORT}`), [])
})

t.test('the tests that it shows pass, and can fail', async (t) => {
  const [code] = page.below('Testing an app')
  t.match(await runSnippet(t, code!), /pass 2\n/)
  await t.rejects(runSnippet(t, code!.replace('\'connection\', \'ai_complete\'', '\'ai_complete\'')), 'with another expectation')
})
