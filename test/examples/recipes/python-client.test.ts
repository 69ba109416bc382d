import t, { type Test } from 'tap'
import { layLine, type Line } from '../../browser/support/line.js'
import { startApp } from '../../support/app.js'
import { pythonWebsockets } from '../../support/real-parts.js'
import { until } from '../../support/until.js'
import { post, runProgram, startRecipe, whyNot, type Program, type Recipe } from './support.js'

const python = pythonWebsockets.find()
const noPython = python === undefined && `needs ${pythonWebsockets.name}: apt-get install ${pythonWebsockets.debianPackage}`

interface Event { event: string, job: string, status: string, text: string, error: { type?: string }, reason?: string, code?: string }

const follow = (t: Test, url: string, sessionId: string, env: NodeJS.ProcessEnv = {}): Program =>
  runProgram(t, python!, ['-B', 'follow.py', sessionId, '--url', url, '--backoff', '0.1'], 'python-client', env)

const eventsOf = ({ output }: Program): Event[] => output.split('\n').filter((line) => line.startsWith('{')).map((line) => JSON.parse(line) as Event)

/** Starts a server whose job writes this text, one word after the other. */
const server = (t: Test, env: NodeJS.ProcessEnv = {}): Promise<Recipe> => startRecipe(t, 'background-job', env)
const textAbout = (topic: string): string => `This is a report about ${topic}. It is written in the background, while nobody has to wait for it.`

async function begin ({ url }: Recipe, topic: string): Promise<string> {
  return String((await post(`${url}/reports`, { topic })).body.id)
}

const through = (line: Line): string => `ws://127.0.0.1:${line.port}/ws`

t.test('its connection is lost twice, and it has every part of the text once', { skip: noPython }, async (t) => {
  const { app, origin } = await startApp(t)
  const line = await layLine(t, Number(new URL(origin).port))
  const job = app.wsManager.startAI('s', {})
  const client = follow(t, through(line), 's')
  await client.line(/"start"/)
  const parts = ['👋🏽 ', 'the séa ', 'and ', '👋 ', 'again']
  for (const [index, delta] of parts.entries()) {
    // The client may or may not miss messages that are sent around the cut. The end must be the same.
    await job.progress({ delta })
    if (index % 2 === 1) line.cut()
    else await client.line(new RegExp(JSON.stringify(delta).slice(1, -1).replace(/[^ -~]/g, '.*')))
  }
  await job.complete({ mode: 'test' })
  t.match(await client.ended, { code: 0 })
  const events = eventsOf(client)
  t.match(events.at(-1), { event: 'complete', status: 'complete' })
  t.same(events.filter(({ event }) => event !== 'progress').map(({ event }) => event), ['start', 'complete'])
  for (const [index, { text }] of events.entries()) t.ok(parts.join('').startsWith(text) && text.length >= (events[index - 1]?.text.length ?? 0), 'the text only grows')
})

t.test('one that comes late has the end at once', { skip: noPython || whyNot() }, async (t) => {
  const recipe = await server(t, { WORDS_PER_SECOND: '1000' })
  const id = await begin(recipe, 'the sea')
  const first = follow(t, recipe.ws, id)
  t.match(await first.ended, { code: 0 })
  const late = follow(t, recipe.ws, id)
  t.match(await late.ended, { code: 0 })
  t.match(eventsOf(late).at(-1), { event: 'complete', text: textAbout('the sea') })
})

t.test('a job that a restart of the server ended is lost', { skip: noPython || whyNot() }, async (t) => {
  const recipe = await server(t, { WORDS_PER_SECOND: '2' })
  const client = follow(t, recipe.ws, await begin(recipe, 'the sea'))
  await client.line(/"text": "This is/)
  await recipe.stop()
  await recipe.start()
  t.match(await client.ended, { code: 1 })
  t.match(eventsOf(client).slice(-2), [{ event: 'gap', reason: 'restarted' }, { event: 'lost', status: 'lost', error: { type: 'lost' } }])
})

t.test('it brings its token, and goes by the close codes', { skip: noPython }, async (t) => {
  const tokens: Array<string | undefined> = []
  const { app, url } = await startApp(t, {
    authenticate: (_request, { token }) => {
      tokens.push(token)
      return token === 'sesame' && { userId: 'ada' }
    },
    authorize: (_identity, { sessionId }) => sessionId === 'mine'
  })
  t.match(await follow(t, url(), 'mine', { TOKEN: 'guess' }).ended, { code: 2, output: /closed with 1008 Unauthorized/ })
  t.same(tokens, ['guess', 'guess'], 'it comes back once, with a fresh token')
  const other = follow(t, url(), 'theirs', { TOKEN: 'sesame' })
  t.match(await other.ended, { code: 1 })
  t.match(eventsOf(other), [{ event: 'refused', code: 'forbidden' }])

  void app.wsManager.startAI('mine', {}, { jobId: 'job_1' })
  const revoked = follow(t, url(), 'mine', { TOKEN: 'sesame' })
  await revoked.line(/"start"/)
  await app.wsManager.revoke('ada')
  t.match(await revoked.ended, { code: 2, output: /closed with 4502/ })
})

t.test('a text whose beginning is no longer kept goes on from there', { skip: noPython }, async (t) => {
  const { app, url } = await startApp(t, { jobs: { maxTextUnits: 8 } })
  const job = app.wsManager.startAI('s', {})
  await job.progress({ delta: '0123456789' })
  const client = follow(t, url(), 's')
  const [, kept = ''] = await client.line(/"text": "([1-9]\d*9)"/)
  await job.progress({ delta: 'ab' })
  await client.line(new RegExp(`"text": "${kept}ab"`))
  await job.error({ message: 'no', type: 'api_error' })
  t.match(await client.ended, { code: 1 })
  t.match(eventsOf(client).at(-1), { event: 'error', status: 'error', error: { type: 'api_error' } })
})

t.test('it asks again while the server cannot decide, and has the whole text after a gap', { skip: noPython }, async (t) => {
  let isAway = true
  let asked = 0
  const { app, origin } = await startApp(t, {
    history: { maxMessages: 2 },
    authorize: () => {
      asked += 1
      if (isAway) throw new Error('the database is away')
      return true
    }
  })
  const line = await layLine(t, Number(new URL(origin).port))
  const client = follow(t, through(line), 's')
  await until(() => asked > 2)
  isAway = false
  const job = app.wsManager.startAI('s', {})
  await job.progress({ delta: 'Once ' })
  await client.line(/"text": "Once "/)

  isAway = true
  const before = asked
  line.cut()
  await until(() => asked > before)
  for (const delta of ['upon ', 'a ', 'time']) {
    await job.progress({ delta })
    await app.wsManager.broadcastToSession('s', { type: 'note' })
  }
  isAway = false
  await client.line(/"text": "Once upon a time"/)
  await job.complete({})
  t.match(await client.ended, { code: 0 })
  const events = eventsOf(client)
  t.match(events.filter(({ event }) => event === 'gap'), [{ reason: 'overflow' }])
  t.match(events.at(-1), { event: 'complete', text: 'Once upon a time' })
  t.same(events.filter(({ event }) => event === 'lost' || event === 'refused'), [])
})
