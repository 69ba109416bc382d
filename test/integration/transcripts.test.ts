import { once } from 'node:events'
import t from 'tap'
import type { WebSocket } from 'ws'
import type { AIErrorInfo, AIProgress, AIResult, AITask } from 'ai-canvas-ws'
import { originOf, startApp } from '../support/app.js'
import { browser, documented, documentedCode, recorder, run, sameAsPrinted } from '../support/documented.js'
import { connect, open, type Message } from '../support/ws-client.js'
import { Wscat } from '../support/wscat.js'

/** Resolves when the page's socket has received `connection` and is subscribed to its URL's session. Call it immediately. */
async function greeted ([socket]: WebSocket[]): Promise<void> {
  await once(socket!, 'message')
}

t.test('every message that a client may send is answered as documented', async (t) => {
  for (const heading of ['Ping', 'Subscribe', 'Unsubscribe']) {
    const { url } = await startApp(t)
    const client = await connect(t, url())
    const [request, response] = documented(heading)
    client.send(request!)
    sameAsPrinted(t, await client.next(), response!)
    t.same(await client.sync(), [], `${heading}: one reply, and no more`)
  }
})

t.test('the first message is the documented `connection`, with and without ids in the query', async (t) => {
  const { url } = await startApp(t)
  const printed = documentedCode('Connection Established')
  for (const query of ['', '?userId=user_123', '?sessionId=session_123', '?userId=user_123&sessionId=session_123']) {
    sameAsPrinted(t, await open(t, url(query)).next(), printed)
  }
})

t.test('a job\'s events are sent as documented', async (t) => {
  const { app, url } = await startApp(t)
  const { wsManager } = app
  const client = await connect(t, url('?sessionId=session_123'))
  const printed = ['AI Processing Started', 'AI Progress Update', 'AI Processing Complete', 'AI Error'].map(documentedCode)
  const [start, progress, complete, error] = printed.map((text) => JSON.parse(text) as Message)
  void wsManager.notifyAIStart('session_123', start!.task as AITask)
  void wsManager.notifyAIProgress('session_123', progress!.progress as AIProgress)
  void wsManager.notifyAIComplete('session_123', complete!.result as AIResult)
  void wsManager.notifyAIError('session_123', error!.error as AIErrorInfo)
  for (const text of printed) sameAsPrinted(t, await client.next(), text)
  t.same(await client.sync(), [])
})

t.test('the session with wscat runs as documented', async (t) => {
  const { app, url } = await startApp(t)
  const [, command, dialogue] = documented('Manual Testing with wscat')
  const [, documentedUrl] = /^wscat -c "ws:\/\/localhost:3001\/ws(.*)"$/.exec(command!) ?? []
  const terminal = new Wscat(t, '-c', url(documentedUrl))
  sameAsPrinted(t, await terminal.shown(), documentedCode('Connection Established'))
  const lines = dialogue!.split('\n').filter((line) => line !== '')
  t.equal(lines.length, 4)
  for (const line of lines) {
    if (line.startsWith('> ')) terminal.type(line.slice(2))
    else sameAsPrinted(t, await terminal.shown(), line.slice(2))
  }
  void app.wsManager.notifyAIComplete('test_123', { mode: 'generate' })
  t.match(await terminal.shown(), { type: 'ai_complete', sessionId: 'test_123', result: { mode: 'generate' } })

  terminal.child.process.stdin.end()
  t.match(await terminal.child.exited, { code: 0, stderr: '' })
})

t.test('the JavaScript testing example runs as documented', async (t) => {
  const { app, origin } = await startApp(t)
  const { call: log, next } = recorder()
  const error = (...args: unknown[]): void => { t.fail('an error was reported', { args }) }
  const { context } = browser(t, origin, { console: { log, error } })
  run(documentedCode('JavaScript Testing'), context)

  t.same(await next(), ['✓ Connected'])
  for (const heading of ['Connection Established', 'Ping', 'Subscribe']) {
    const [label, data] = await next()
    t.equal(label, '✓ Received:')
    const printed = documented(heading).at(-1)!.replace('session_123', 'test_session')
    sameAsPrinted(t, JSON.parse(data as string) as Message, printed)
  }
  t.equal(app.wsManager.getStats({ sessionId: 'test' }).clients.length, 1, 'it is still subscribed to the session in its URL')
  await app.close()
  t.same(await next(), ['✗ Disconnected'])
})

t.test('the connection example runs as documented', async (t) => {
  const { app, origin } = await startApp(t)
  const { call: log, next } = recorder()
  const { context } = browser(t, origin, { console: { log, error: log } })
  run(documentedCode('JavaScript Connection Example'), context)
  t.same(await next(), ['Connected to WebSocket'])
  t.match(await next(), ['Received:', { type: 'connection' }])
  t.match(await app.wsManager.notifyAIStart('my_session_123', { prompt: 'x' }), { recipients: 1 })
  t.match(await next(), ['Received:', { type: 'ai_start', sessionId: 'my_session_123' }])
  await app.close()
  t.match(await next(), ['Received:', { type: 'ai_error', sessionId: 'my_session_123', error: { type: 'interrupted' } }],
    'a job that was running gets an end')
  t.same(await next(), ['Disconnected from WebSocket'])
})

t.test('use case 1: a page shows the AI\'s progress', async (t) => {
  const { app, origin } = await startApp(t)
  const { call, next } = recorder()
  const named = (name: string) => (...args: unknown[]) => { call(name, ...args) }
  const names = ['showLoadingIndicator', 'updateProgressBar', 'hideLoadingIndicator', 'showSuccessNotification', 'showErrorNotification']
  const { context, sockets } = browser(t, origin, {
    console: { log: named('log'), error: named('error') },
    ...Object.fromEntries(names.map((name) => [name, named(name)]))
  })
  run(documentedCode('Real-Time AI Notifications'), context)
  await greeted(sockets)
  const { wsManager } = app

  void wsManager.notifyAIStart('my_session', { prompt: 'x' })
  t.same(await next(), ['log', 'AI started processing'])
  t.same(await next(), ['showLoadingIndicator'])
  void wsManager.notifyAIProgress('my_session', { chunksReceived: 25, contentLength: 1250 })
  t.same(await next(), ['log', 'Progress:', { chunksReceived: 25, contentLength: 1250 }])
  t.same(await next(), ['updateProgressBar', { chunksReceived: 25, contentLength: 1250 }])
  void wsManager.notifyAIComplete('my_session', { mode: 'generate' })
  t.same(await next(), ['log', 'AI completed!', { mode: 'generate' }])
  t.same([await next(), await next()], [['hideLoadingIndicator'], ['showSuccessNotification']])
  void wsManager.notifyAIError('my_session', { message: 'API rate limit exceeded', type: 'rate_limit_error' })
  t.same(await next(), ['error', 'AI error:', { message: 'API rate limit exceeded', type: 'rate_limit_error', retryable: true }])
  t.same([await next(), await next()], [['hideLoadingIndicator'], ['showErrorNotification', 'API rate limit exceeded']])
})

t.test('use case 2: other users of the same session receive updates', async (t) => {
  const { app, origin, url } = await startApp(t)
  const { call, next } = recorder()
  const { context, sockets } = browser(t, origin, {
    refreshSharedCanvas: () => { call('refreshed') },
    notifyUser: (text: string) => { call(text) }
  })
  const colleague = await connect(t, url('?userId=user456&sessionId=shared_session'))
  run(documentedCode('Multi-User Collaboration'), context)
  await greeted(sockets)
  t.equal(app.wsManager.getStats({ sessionId: 'shared_session', userId: 'user123' }).clients.length, 1)
  t.match(await app.wsManager.notifyAIComplete('shared_session', { mode: 'generate' }), { recipients: 2 })
  t.same([await next(), await next()], [['refreshed'], ['AI agent completed task']])
  t.match(await colleague.next(), { type: 'ai_complete', sessionId: 'shared_session' })
})

t.test('use case 3: a page learns of the end of a background job that it started', async (t) => {
  const requested = recorder()
  const { app, origin } = await startApp(t, {}, {}, (app) => {
    app.post('/api/agent/generate', (request) => {
      requested.call(request.body)
      return { accepted: true }
    })
  })
  const { call, next } = recorder()
  const responses: Array<Promise<Response>> = []
  const { context, sockets } = browser(t, origin, {
    console: { log: call },
    fetch: (path: string, init: RequestInit) => { responses.push(fetch(originOf(app, 'http') + path, init)) },
    fetchGeneratedDocumentation: () => { call('fetched') }
  })
  run(documentedCode('Background Processing Notifications'), context)
  const [[body]] = await Promise.all([requested.next(), greeted(sockets)])
  // The documented request has no content type, so its JSON arrives as text.
  const { sessionId, prompt } = JSON.parse(body as string) as { sessionId: string, prompt: string }
  t.match(await app.wsManager.notifyAIComplete(sessionId, { summary: prompt }), { recipients: 1 })
  t.same([await next(), await next()], [['Background task completed!'], ['fetched']])
  t.same((await Promise.all(responses)).map(({ status }) => status), [200])
})
