import t, { type Test } from 'tap'
import { layLine } from '../../browser/support/line.js'
import { startApp } from '../../support/app.js'
import { post, runRecipe, startRecipe, whyNot, type Program } from './support.js'

const skip = whyNot()

const follow = (t: Test, url: string, sessionId: string, env: NodeJS.ProcessEnv = {}): Program =>
  runRecipe(t, 'node-client', { AI_CANVAS_URL: url, ...env }, { args: [sessionId] })

const begin = async (url: string): Promise<string> => String((await post(`${url}/reports`, { topic: 'the sea' })).body.id)

t.test('it prints the text once, through a lost connection, and late', { skip }, async (t) => {
  const { app, origin, url } = await startApp(t)
  const line = await layLine(t, Number(new URL(origin).port))
  const job = app.wsManager.startAI('s', {})
  await job.progress({ delta: 'Once ' })
  const client = follow(t, `ws://127.0.0.1:${line.port}/ws`, 's')
  await client.wrote(/Once/)
  line.cut()
  await job.progress({ delta: 'upon ' })
  await client.wrote(/upon/)
  await job.progress({ delta: 'a time' })
  await client.wrote(/a time/)
  await job.complete({})
  t.match(await client.ended, { code: 0 })
  t.equal(client.stdout, 'Once upon a time')
  t.match(await follow(t, url(), 's').ended, { code: 0, output: /complete/ }, 'late')
})

t.test('a job that a restart of the server ended is lost', { skip }, async (t) => {
  const recipe = await startRecipe(t, 'background-job', { WORDS_PER_SECOND: '2' })
  const client = follow(t, recipe.ws, await begin(recipe.url))
  await client.wrote(/This is/)
  await recipe.stop()
  await recipe.start()
  t.match(await client.ended, { code: 1, output: /lost: / })
})

t.test('Ctrl+C stops the job', { skip }, async (t) => {
  const { url, ws } = await startRecipe(t, 'background-job', { WORDS_PER_SECOND: '2' })
  const client = follow(t, ws, await begin(url))
  await client.wrote(/This is/)
  t.match(await client.stop('SIGINT'), { code: 1, output: /cancelled: the job was cancelled/ })
})

t.test('it says why it is refused', { skip }, async (t) => {
  const { url } = await startApp(t, {
    authenticate: (_request, { token }) => token === 'sesame' && { userId: 'ada' },
    authorize: (_identity, { sessionId }) => sessionId === 'mine'
  })
  t.match(await follow(t, url(), 'mine', { TOKEN: 'guess' }).ended, { code: 2, output: /closed/ })
  t.match(await follow(t, url(), 'theirs', { TOKEN: 'sesame' }).ended, { code: 1, output: /may not follow/ })
})
