import { createHash } from 'node:crypto'
import t from 'tap'
import { build } from '../../examples/minimal.js'
import { connect } from '../support/ws-client.js'
import { runExample } from './support/example.js'
import { jobMessages } from './support/job-messages.js'

t.test('a text is digested line by line, and the session hears of it', async (t) => {
  const app = await build()
  t.teardown(() => app.close())
  const address = await app.listen({ port: 0, host: '127.0.0.1' })
  const client = await connect(t, `${address.replace('http', 'ws')}/ws?sessionId=s`)

  const text = 'one\ntwo\nthrée'
  const digest = createHash('sha256').update(text).digest('hex')
  const response = await fetch(`${address}/digest?sessionId=s`, { method: 'POST', body: text })
  t.same(await response.json(), { digest })
  const messages = await jobMessages(client)
  t.match(messages[0], { type: 'ai_start', sessionId: 's', task: { mode: 'digest' } })
  t.match(messages.at(-2), { type: 'ai_progress', progress: { chunksReceived: 3, contentLength: 13 } })
  t.match(messages.at(-1), { type: 'ai_complete', result: { mode: 'digest', contentLength: 13, chunks: 3, digest } })
})

t.test('a request without a session or a text is answered with what is missing', async (t) => {
  const app = await build()
  t.teardown(() => app.close())
  t.match((await app.inject({ method: 'POST', url: '/digest', payload: 'x', headers: { 'content-type': 'text/plain' } })).json(), { statusCode: 400, message: /sessionId/ })
  t.match((await app.inject({ method: 'POST', url: '/digest?sessionId=s', payload: { a: 1 } })).json(), { statusCode: 400, message: /must be string/ })
})

t.test('it runs by itself', async (t) => {
  const port = await runExample(t, { PORT: '0' }, 'examples/minimal.ts').port
  const response = await fetch(`http://127.0.0.1:${port}/digest?sessionId=s`, { method: 'POST', body: 'x' })
  t.match(await response.json(), { digest: /^[0-9a-f]{64}$/ })
})
