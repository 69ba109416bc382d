import { once } from 'node:events'
import type { TObject } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'
import { defaults } from 'ai-canvas-ws'
import { aiErrorTypes, aiFinishReasons, ClientMessage, closeCodes, errorCodes, MAX_ID_LENGTH, reconnectRule, reservedTypes, ServerMessage } from 'ai-canvas-ws/protocol'
import t from 'tap'
import { startApp } from '../support/app.js'
import { connect, open, type Message } from '../support/ws-client.js'
import { Page } from './markdown.js'
import { play, type Deed, type Scene } from './transcript.js'

const page = new Page('lib/protocol/README.md')
/** The schemas of each message type. */
const schemas = new Map<string, TObject[]>()
for (const schema of [...ClientMessage.anyOf, ...ServerMessage.anyOf]) {
  const { const: type } = schema.properties.type
  schemas.set(type, [...schemas.get(type) ?? [], schema])
}
const examples = page.blocks('json').map(({ text, line, heading }) => ({ message: JSON.parse(text) as Message, line, heading }))

t.test('every example matches its schema, and uses only fields of the schema', async (t) => {
  for (const { message, line, heading } of examples) {
    const forms = schemas.get(message.type)
    const at = `line ${line}: ${message.type}`
    if (forms === undefined) {
      t.equal(heading, 'App messages', at)
      t.notOk(reservedTypes.has(message.type), `${at} is not reserved`)
    } else {
      const form = forms.find((form) => Value.Check(form, message)) ?? forms[0]!
      t.same([...Value.Errors(form, message)].map(({ path, message }) => `${path} ${message}`), [], at)
      t.same(Object.keys(message).filter((name) => !(name in form.properties)), [], at)
      t.equal(heading, message.type, `${at} stands below its heading`)
    }
  }
})

t.test('every message type has a section, and the examples show all of its fields', async (t) => {
  for (const [type, forms] of schemas) {
    const shown = new Set(examples.filter(({ message }) => message.type === type).flatMap(({ message }) => Object.keys(message)))
    const fields = forms.flatMap(({ properties }) => Object.keys(properties))
    t.same(fields.filter((name) => !shown.has(name)), [], type)
  }
})

t.test('the table of close codes matches the code', async (t) => {
  const table = page.table('10. Closing, and coming back')
  t.same(table.map(({ code, name, reason, 'the client': rule }) => [name, { code: Number(code), reason, reconnect: rule }]),
    Object.entries(closeCodes))
  t.same([4499, 4500, 4999, 3000].map(reconnectRule), ['backoff', 'never', 'never', 'backoff'], 'codes that are not in the table')
  const rules = [...page.text.matchAll(/^- `([\w-]+)`: /gm)].map(([, name]) => name)
  t.same(rules.sort(), [...new Set(Object.values(closeCodes).map(({ reconnect }) => reconnect))].sort(), 'every rule is explained')
})

t.test('the table of error codes matches the code', async (t) => {
  t.same(page.table('9. Errors').map(({ code, retry }) => [code, { retry: retry === 'yes' }]), Object.entries(errorCodes))
})

t.test('the tables of finish reasons and of ai_error types match the code', async (t) => {
  t.same(page.table('ai_complete').map(({ finishReason }) => finishReason), [...aiFinishReasons])
  t.same(page.table('ai_error').map(({ type, retryable, 'HTTP status': statuses }) => [type, retryable === 'yes', statuses]),
    Object.entries(aiErrorTypes).map(([type, row]) => [type, row.retryable, type === 'api_error' ? 'other 5xx' : 'statuses' in row ? row.statuses.join(', ') : '']))
})

t.test('the table of limits shows the defaults', async (t) => {
  const rows = page.table('7. Limits').map((row) => row.limit)
  const { limits, delivery } = defaults
  const limitOf: Record<string, string> = {
    'websocket.maxPayload': `${defaults.maxPayload / 1024} KiB, or ${defaults.maxPayloadWithOnMessage / 2 ** 20} MiB where`,
    'limits.burst': `${limits.burst} at once`,
    'limits.messagesPerSecond': `${limits.messagesPerSecond} a second`,
    'limits.sessionsPerConnection': `${limits.sessionsPerConnection} `,
    'limits.subscribesPerSecond': `${limits.subscribesPerSecond} a second`,
    'limits.connectionsPerUser': `${limits.connectionsPerUser} on each node`,
    'limits.connections': limits.connections === Infinity ? 'none' : String(limits.connections),
    'limits.authTimeoutMs': `${limits.authTimeoutMs / 1000} s`,
    'limits.replayBytesPerSecond': `${limits.replayBytesPerSecond / 2 ** 20} MiB a second`,
    'delivery.maxTotalOutboxBytes': `${delivery.maxTotalOutboxBytes / 2 ** 20} MiB`,
    'delivery.maxOutboxBytes': `${delivery.maxOutboxBytes / 2 ** 20} MiB`,
    'delivery.stallTimeoutMs': `${delivery.stallTimeoutMs / 1000} s`,
    closeTimeoutMs: `${defaults.closeTimeoutMs / 1000} s`
  }
  for (const [option, limit] of Object.entries(limitOf)) {
    const row = rows.find((text) => text!.includes(`\`${option}\``)) ?? ''
    t.ok(row.includes(limit), `${option}: "${limit}" in "${row}"`)
  }
  const named = rows.flatMap((text) => [...text!.matchAll(/`(\w+\.\w+|\w+Ms)`/g)].map(([, option]) => option))
  t.same(named.sort(), Object.keys(limitOf).sort(), 'the table names no other option')
  t.ok(rows.includes(`1 to ${MAX_ID_LENGTH} characters`))
  t.equal(defaults.heartbeatIntervalMs, 30_000, 'section 6 says 30 seconds')
})

t.test('compression is negotiated with the documented parameters', async (t) => {
  const { url } = await startApp(t)
  const [response] = await once(open(t, url()).ws, 'upgrade') as [{ headers: Record<string, string> }]
  const parameters = page.blocks('text').find(({ heading }) => heading === '8. Compression')
  t.equal(response.headers['sec-websocket-extensions'], parameters?.text)
  t.equal(defaults.websocket.perMessageDeflate.threshold, 1024)
})

// ---- the scenarios

const users = {
  authorize: true,
  authenticate: (_request, { token }) => {
    const userId = /^token-of-(.+)$/.exec(token ?? '')?.[1]
    return userId === undefined ? null : { userId }
  }
} satisfies NonNullable<Scene['options']>

let allow: (answer: boolean) => void
const slowAnswer = new Promise<boolean>((resolve) => { allow = resolve })

/** The options of the server and of the client in each scenario, by number. */
const scenes: Readonly<Record<number, Scene>> = {
  7: { options: { authorize: (_identity, { sessionId }) => sessionId === 'mine' } },
  8: { options: users },
  9: {
    options: { ...users, authenticate: (...args) => ({ ...users.authenticate(...args), expiresAt: Date.now() + 300 }) }
  },
  // Compression is off, so that the client does not receive the 32 MiB as a few KiB.
  12: { client: { perMessageDeflate: false }, options: { closeTimeoutMs: 10_000 } },
  15: { options: { origins: [] }, client: { origin: 'https://elsewhere.example' } },
  16: { options: { limits: { connections: 1 } }, before: ({ url }, t) => connect(t, url()) },
  17: { options: { authorize: (_identity, { sessionId }) => sessionId === 'slow' ? slowAnswer : true } },
  22: {
    options: { authenticate: () => ({}), authorize: (_identity, { type, sessionId }) => type === 'subscribe' || sessionId === 'session_123' }
  },
  23: { options: { jobs: { stallAfterMs: 300 } } },
  25: { options: { jobs: { maxTextUnits: 8 } } },
  26: { options: { history: { maxMessages: 1 } } },
  28: { options: { authorize: (_identity, { sessionId }) => ['mine', 'ours', 'draft'].includes(sessionId) } }
}

const deeds: Readonly<Record<string, Deed>> = {
  'the client sends a ping message in a binary frame': ({ client }) => { client.ws.send(Buffer.from('{"type":"ping"}')) },
  'the token expires': () => { /* happens by itself */ },
  'the job reports nothing until it counts as stalled': () => { /* happens by itself */ },
  'the client sends a thousand pings at once, and receives about a hundred pongs': async ({ client }) => {
    for (let i = 0; i < 1000; i++) client.send({ type: 'ping' })
    for (let i = 0; i < defaults.limits.burst; i++) await client.nextOf('pong')
    // The rate limit refills in the meantime. On a slow machine, the server answers a few more pings.
    while (client.waiting[0]?.type === 'pong') await client.next()
  },
  'the client stops reading, and the app sends 32 MiB to the session': async ({ app, client }) => {
    client.ws.pause()
    const sent = Array.from({ length: 512 }, () =>
      app.wsManager.broadcastToSession('session_123', { type: 'image', data: 'x'.repeat(64 * 1024) }))
    await Promise.all(sent)
  },
  'the client reads again': async ({ client }) => {
    client.ws.resume()
    await client.closed
    while (client.waiting.length > 0) await client.next()
  },
  'the connection is lost': async ({ client }) => {
    client.ws.terminate()
    await client.closed
  },
  'the app closes': ({ app }) => { void app.close() },
  'the app allows `slow`': async () => {
    allow(true)
    await slowAnswer
  },
  'the client sends a message of 70,000 bytes': ({ client }) => { client.send({ type: 'ping', ballast: 'x'.repeat(70_000) }) }
}

const transcripts = page.blocks('text').filter(({ heading }) => heading.startsWith('Scenario '))

t.test('the scenarios are numbered, and each has a transcript', async (t) => {
  const headings = page.headings.filter((heading) => heading.startsWith('Scenario '))
  t.same(headings.map((heading) => Number(/\d+/.exec(heading)?.[0])), headings.map((_, at) => at + 1))
  t.same([...new Set(transcripts.map(({ heading }) => heading))], headings)
  const steps = transcripts.flatMap(({ text }) => text.split('\n').filter((line) => line.startsWith('(')))
  t.same(Object.keys(deeds).sort(), [...new Set(steps.map((line) => line.slice(1, -1)))].sort(), 'every step in parentheses is implemented, and no other')
})

for (const { heading, text, line } of transcripts) {
  const number = Number(/\d+/.exec(heading)?.[0])
  t.test(`${heading} (line ${line})`, (t) => play(t, text, scenes[number] ?? {}, deeds))
}
