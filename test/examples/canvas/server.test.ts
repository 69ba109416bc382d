import t from 'tap'
import { connect } from '../../support/ws-client.js'
import { runExample } from '../support/example.js'
import { jobMessages } from '../support/job-messages.js'

t.test('npm start serves a real job, and SIGTERM ends it cleanly', async (t) => {
  const example = runExample(t, { PORT: '0', DOCUMENT_SECONDS: '0' })
  const port = await example.port

  const client = await connect(t, `ws://localhost:${port}/ws?sessionId=my_session`)
  const response = await fetch(`http://localhost:${port}/api/agent/generate`, {
    method: 'POST',
    body: JSON.stringify({ sessionId: 'my_session', prompt: 'Generate documentation', mode: 'document', targetFile: 'lib/protocol/messages.ts' })
  })
  t.equal(response.status, 202)
  const messages = await jobMessages(client)
  t.match(messages[0], { type: 'ai_start', task: { mode: 'document', targetFile: 'lib/protocol/messages.ts' } })
  t.match(messages.at(-1), { type: 'ai_complete', result: { mode: 'document', targetFile: 'lib/protocol/messages.ts' } })
  const result = await (await fetch(`http://localhost:${port}/api/agent/result?sessionId=my_session`)).json() as { content: string }
  t.match(result.content, /^# `lib\/protocol\/messages\.ts`\n/)
  t.match(messages.at(-1), { result: { contentLength: result.content.length } })

  example.process.kill('SIGTERM')
  t.match(await client.closed, { code: 1012 })
  t.same(await example.ended, [0, null, ''])
})

t.test('an invalid setting keeps the server from starting, and the error names it', async (t) => {
  const [code, , errors] = await runExample(t, { PORT: 'http' }).ended
  t.equal(code, 1)
  t.match(errors, 'PORT is not a port: set it to a number from 0 (any free port) to 65535, not "http"')
})
