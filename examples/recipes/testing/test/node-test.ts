import assert from 'node:assert/strict'
import test from 'node:test'
import { build } from '../app.js'
import { follow } from './follow.js'

test('subscribers receive the job, late ones included', async () => {
  const app = await build()
  const client = await follow(app, 's')
  const response = await app.inject({ method: 'POST', url: '/work' })
  assert.equal(response.json<{ recipients: number }>().recipients, 1)
  assert.deepEqual(await client.types(3), ['connection', 'ai_start', 'ai_complete'])
  client.close()

  const late = await follow(app, 's')
  assert.deepEqual(await late.types(2), ['connection', 'ai_complete'])
  late.close()
  await app.close()
})
