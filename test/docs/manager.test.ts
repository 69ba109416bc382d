import { Value } from '@sinclair/typebox/value'
import t from 'tap'
import { StatsSchema } from '../../lib/fastify/stats-route.js'
import { WebSocketManager } from '../../lib/manager/manager.js'
import { errors } from '../../lib/util/errors.js'
import { startApp } from '../support/app.js'
import { Page } from './markdown.js'
import { propertiesOf, runSnippet } from './snippets.js'
import { APP, FOLLOW, messagesOf, REPORT } from './stage.js'

const page = new Page('lib/manager/README.md')

t.test('the table of methods names every one', async (t) => {
  const own = Object.getOwnPropertyNames(WebSocketManager.prototype).filter((name) => !['constructor', 'close'].includes(name))
  t.same(page.table('Sending').map(({ method }) => /^\w+/.exec(method!)?.[0]).sort(), own.sort())
})

t.test('the tables of a receipt and of the metrics name every field', async (t) => {
  t.same(page.table('Receipts').map(({ field }) => field).sort(), propertiesOf('lib/manager/notifier.ts', 'Receipt').sort())
  const { app } = await startApp(t)
  t.same(page.table('Stats, metrics and logs').map(({ field }) => field), Object.keys(app.wsManager.getMetrics()))
})

t.test('the table of errors is that of the code', async (t) => {
  t.same(page.table('Errors').map(({ code }) => code), Object.values(errors).map((Type) => new Type('', '').code))
})

t.test('the stats are what the route answers', async (t) => {
  const [example] = page.below('Stats, metrics and logs', 'json').map((text) => JSON.parse(text) as object)
  t.ok(Value.Check(StatsSchema, example))
})

t.test('the blocks about sending run', async (t) => {
  const [report] = page.below('Sending')
  const [error] = page.below('Errors of a job')
  const [batch] = page.below('Batching')
  const [receipt] = page.below('Receipts')
  const messages = await messagesOf(t, `${APP}
    await app.register(aiCanvasWs)
    ${report!}
    ${FOLLOW}
    const callTheModel = async () => { throw Object.assign(new Error('slow down'), { status: 429 }) }
    reportProgress(sessionId, 7)
    ${error!}
    ${batch!}
    ${receipt!}
    if (recipients !== 1 || typeof epoch !== 'string' || seq !== 2) throw new Error('another receipt')
    ${REPORT}`)
  t.match(messages, [
    { type: 'ai_progress', progress: { chunksReceived: 7 } },
    { type: 'ai_error', error: { message: 'slow down', type: 'rate_limit_error', retryable: true } },
    { type: 'batch_update', messages: [{ type: 'cursor', x: 10, y: 20 }, { type: 'cursor', x: 12, y: 20 }] },
    { type: 'ai_complete', result: { chunks: 100 } }
  ])
})

t.test('the block that guards the stats route runs', async (t) => {
  const [guarded] = page.below('Stats, metrics and logs')
  const output = await runSnippet(t, `${APP}
    const findUser = async () => null
    const isOperator = (request) => request.headers.operator === 'yes'
    ${guarded!}
    for (const operator of ['yes', 'no']) {
      console.log((await app.inject({ url: '/api/ws/stats?userId=user_1', headers: { operator } })).statusCode)
    }`)
  t.equal(output, '200\n403\n')
})
