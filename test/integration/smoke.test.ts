import t from 'tap'
import { connect } from '../support/ws-client.js'
import { startApp } from '../support/app.js'

t.test('a session hears of its job', async (t) => {
  const { app, url } = await startApp(t)
  const client = await connect(t, url('?sessionId=s1'))
  await app.wsManager.notifyAIStart('s1', { prompt: 'x' })
  t.match(await client.next(), { type: 'ai_start', sessionId: 's1', task: { prompt: 'x' } })
})
