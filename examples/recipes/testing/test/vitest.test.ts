import { expect, test } from 'vitest'
import { build } from '../app.js'
import { follow } from './follow.js'

test('subscribers receive the job, late ones included', async () => {
  const app = await build()
  const client = await follow(app, 's')
  const response = await app.inject({ method: 'POST', url: '/work' })
  expect(response.json<{ recipients: number }>().recipients).toBe(1)
  expect(await client.types(3)).toEqual(['connection', 'ai_start', 'ai_complete'])
  client.close()

  const late = await follow(app, 's')
  expect(await late.types(2)).toEqual(['connection', 'ai_complete'])
  late.close()
  await app.close()
})
