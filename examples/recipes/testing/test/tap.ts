import t from 'tap'
import { build } from '../app.js'
import { follow } from './follow.js'

t.test('subscribers receive the job, late ones included', async (t) => {
  const app = await build()
  const client = await follow(app, 's')
  const response = await app.inject({ method: 'POST', url: '/work' })
  t.equal(response.json<{ recipients: number }>().recipients, 1)
  t.same(await client.types(3), ['connection', 'ai_start', 'ai_complete'])
  client.close()

  const late = await follow(app, 's')
  t.same(await late.types(2), ['connection', 'ai_complete'])
  late.close()
  await app.close()
})
