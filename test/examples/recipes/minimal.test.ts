import { createHash } from 'node:crypto'
import t from 'tap'
import { connect, open } from '../../support/ws-client.js'
import { jobMessages } from '../support/job-messages.js'
import { startRecipe, whyNot } from './support.js'

t.test('the route digests a text and notifies subscribers, late ones included', { skip: whyNot() }, async (t) => {
  const { url, ws } = await startRecipe(t, 'minimal')
  const client = await connect(t, `${ws}?sessionId=s`)
  const text = 'one\ntwo\nthrée'
  const digest = createHash('sha256').update(text).digest('hex')
  const response = await fetch(`${url}/digest?sessionId=s`, { method: 'POST', body: text })
  t.same(await response.json(), { digest })
  const end = { type: 'ai_complete', result: { mode: 'digest', contentLength: 13, chunks: 3, digest } }
  const messages = await jobMessages(client)
  t.match(messages[0], { type: 'ai_start', sessionId: 's', task: { mode: 'digest' } })
  t.match(messages.at(-2), { type: 'ai_progress', progress: { chunksReceived: 1 } })
  t.match(messages.at(-1), end)
  const late = await connect(t, `${ws}?sessionId=s`)
  t.match(await late.next(), { ...end, replayed: 'snapshot' })
})

t.test('what it refuses: no session, no text, a page of another host', { skip: whyNot() }, async (t) => {
  const { url, ws } = await startRecipe(t, 'minimal')
  const post = async (path: string, init: RequestInit): Promise<unknown> => (await fetch(`${url}${path}`, { method: 'POST', ...init })).json()
  t.match(await post('/digest', { body: 'x' }), { statusCode: 400, message: /sessionId/ })
  t.match(await post('/digest?sessionId=%00', { body: 'x' }), { statusCode: 400, message: /sessionId/ })
  t.match(await post('/digest?sessionId=s', { body: '{}', headers: { 'content-type': 'application/json' } }), { statusCode: 400, message: /must be string/ })
  t.match(await open(t, ws, { origin: 'https://evil.example' }).closed, { code: 4501 })
  await connect(t, ws, { origin: url })
})
