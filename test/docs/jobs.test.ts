import { defaults } from 'ai-canvas-ws'
import t from 'tap'
import { namesIn, Page } from './markdown.js'
import { documentedDefaultsOf, propertiesOf, runSnippet } from './snippets.js'
import { APP, FOLLOW, messagesOf, modelFor, REPORT } from './stage.js'

const page = new Page('lib/jobs/README.md')

t.test('the table of an outcome names every field', async (t) => {
  const names = ['AICompletion', 'AIFailure'].flatMap((name) => propertiesOf('lib/manager/ai-run.ts', name))
  t.same(page.table('The outcome').map(({ field }) => field).sort(), [...new Set(names)].sort())
})

t.test('the table of options names every option, with its default', async (t) => {
  const rows = page.table('Options')
  const names = [...propertiesOf('lib/manager/manager.ts', 'JobOptions'), ...propertiesOf('lib/jobs/track.ts', 'TrackOptions')]
  t.same(rows.map(({ option }) => option), names, 'in the order of the code')
  const documented = documentedDefaultsOf('lib/jobs/track.ts', 'TrackOptions')
  for (const name of ['throttleMs', 'text']) t.equal(rows.find(({ option }) => option === name)?.default, documented[name], name)
})

t.test('the table of the handle names all that it has', async (t) => {
  const names = page.table('Without a stream').flatMap(({ handle }) => namesIn(handle).map((name) => /^\w+/.exec(name)![0]))
  t.same(names.sort(), propertiesOf('lib/manager/ai-job.ts', 'AIJob').filter((name) => !['onceStalled', 'warn', 'stall', 'cancel'].includes(name)).sort(), 'but for what is internal')
})

t.test('the block about another process runs', async (t) => {
  const [block] = page.below('Continuing a job in another process')
  const messages = await messagesOf(t, `${APP}
    await app.register(aiCanvasWs)
    ${FOLLOW}
    ${block!}
    ${REPORT}
  `)
  t.match(messages, [{ type: 'ai_start', jobId: 'job_1' }, { type: 'ai_complete', jobId: 'job_1', result: { mode: 'render', chunks: 1 } }])
})

t.test('the defaults in the text are those of the code', async (t) => {
  const { history: { maxMessages, maxBytes, ttlMs, endTtlMs, maxTotalBytes }, jobs: { stallAfterMs } } = defaults
  const text = page.text.replaceAll('\n', ' ')
  for (const part of [
    `${maxMessages.toLocaleString('en')} messages or ${maxBytes / 2 ** 20} MiB per session`, `for ${ttlMs / 60_000} minutes`, `for ${endTtlMs / 3_600_000} hours`,
    `${maxTotalBytes / 2 ** 20} MiB in total`, `that is ${maxTotalBytes / 16 / 2 ** 20} MiB`, `${maxTotalBytes / 8 / 2 ** 20} MiB by default`,
    `for ${stallAfterMs / 60_000} minutes (\`jobs.stallAfterMs\`)`
  ]) t.match(text, part)
})

t.test('the blocks about a job in the background run: the page hears of its end, also of a cancel', async (t) => {
  const [server, browser] = page.below('Running a job')
  const [reasons] = page.below('The result')
  const [awaited] = page.below('The outcome')
  const listen = `
    await app.register(aiCanvasWs, { allowCancel: true })
    ${server!}
    await app.listen({ port: 0, host: '127.0.0.1' })
    listening(app)
    process.on('unhandledRejection', () => { console.log('unhandled') })
    ${browser!.replace('\'http://localhost:3001', '\'http://127.0.0.1:\' + app.server.address().port + \'')}
    const seen = []
    ws.on('message', (data) => seen.push(JSON.parse(String(data))))
    const next = async (type) => {
      while (!seen.some((message) => message.type === type)) await once(ws, 'message')
      return seen.find((message) => message.type === type)
    }`
  const well = await modelFor(t, { ends: true })
  t.equal(await runSnippet(t, `${APP}${listen}
    await next('ai_complete')
    await app.close()`, well.env), 'Background task completed!\n')

  t.equal(await runSnippet(t, `${APP}
    import OpenAI from 'openai'
    const openai = new OpenAI()
    await app.register(aiCanvasWs)
    ${reasons!}
    await app.close()`, well.env), 'false { inputTokens: 7, outputTokens: 2 }\n')

  const endless = await modelFor(t, { ends: false })
  t.equal(await runSnippet(t, `${APP}${listen}
    await next('ai_start')
    ws.send('{"type":"cancel","sessionId":"background_task_123"}')
    console.log(JSON.stringify((await next('ai_error')).error))
    await app.close()`, endless.env), '{"message":"the job was cancelled","type":"cancelled","retryable":true}\n')
  await endless.stopped

  t.equal(await runSnippet(t, `${APP}
    await app.register(aiCanvasWs)
    ${awaited!}
    await app.close()
    await (async () => { ${awaited!} })()`), 'Once upon a time { contentLength: 16, chunks: 3 }\nerror interrupted true\n')
})

t.test('the block about reading the stream runs, and a cancel does not end the process', async (t) => {
  const [imports] = page.below('Running a job')
  const [server] = page.below('Reading the stream')
  const program = (end: string): string => `${APP}
    await app.register(aiCanvasWs, { allowCancel: true })
    ${imports!.slice(0, imports!.indexOf('app.post'))}
    ${server!}
    ${FOLLOW}
    const answer = fetch('http://127.0.0.1:' + app.server.address().port + '/api/agent/stream', {
      method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"sessionId":"s","prompt":"x"}'
    })
    ${end}
    console.log(await (await answer).text())
    await app.close()
    console.log(messages.at(-1).type)`
  const well = await modelFor(t, { ends: true })
  t.equal(await runSnippet(t, program(''), well.env), 'Once upon\nai_complete\n')
  const endless = await modelFor(t, { ends: false })
  t.equal(await runSnippet(t, program(`
    while (!messages.some(({ type }) => type === 'ai_progress')) await once(client, 'message')
    await answer
    client.send('{"type":"cancel","sessionId":"s"}')`), endless.env), 'Once upon\nai_error\n')
  await endless.stopped
})
