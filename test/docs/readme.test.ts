import { existsSync, readFileSync } from 'node:fs'
import t from 'tap'
import { Page } from './markdown.js'
import { runSnippet } from './snippets.js'
import { anyPort, APP, BROWSER, FOLLOW, messagesOf, REPORT } from './stage.js'

const page = new Page('README.md')
const read = (path: string): string => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8')

t.test('the commands for the tests are those of .ci/run', async (t) => {
  const commands = page.blocks('sh').find(({ text }) => text.endsWith('npm test'))?.text.split(' && ')
  const lines = read('.ci/run').split('\n').filter((line) => line.startsWith('npm '))
  t.same(commands, ['npm ci', 'npm run setup', 'npm test'])
  t.same(lines, [...commands!, 'npm run check'])
})

t.test('the file that the agent is asked to document is there', async (t) => {
  const task = JSON.parse(/-d '(.*)'/.exec(page.below('The app in this repository', 'sh').join('\n'))![1]!) as { targetFile: string }
  t.ok(existsSync(new URL(`../../${task.targetFile}`, import.meta.url)))
})

t.test('the README is a front door', async (t) => {
  t.ok(page.text.split('\n').length < 250)
  const questions = [...page.text.matchAll(/^\*\*(\d+)\. [^*]+\?\*\* /gm)].map(([, number]) => Number(number))
  t.same(questions, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
})

t.test('the figures are those of the benchmark', async (t) => {
  const rows = new Page('test/bench/README.md').table('Results')
  for (const name of ['fan-out', 'fan-out-10']) {
    const { median } = rows.find(({ row, 'ratio of': ratio }) => row === name && ratio === 'server CPU: ours / socket.io')!
    t.match(page.text, Number(median).toFixed(2), name)
  }
})

t.test('the quick start runs: a page and a client log that the job is done', async (t) => {
  const [server, client, browser] = page.below('Quick start')
  const output = await runSnippet(t, `${BROWSER}${anyPort(server!)}\nlistening(app)\n${browser!}\n${client!}
    await Promise.all([once(ws, 'message'), new Promise((resolve) => client.on('open', resolve))])
    const done = new Promise((resolve) => client.on('ai_complete', resolve))
    const { statusCode } = await app.inject({ method: 'POST', url: '/work' })
    await done
    client.close()
    await app.close()
    if (ws.readyState !== WS.CLOSED) await once(ws, 'close')
    console.log(statusCode)`)
  const lines = output.trim().split('\n')
  t.equal(lines.filter((line) => line === 'done { contentLength: 16, chunks: 3 }').length, 2)
  t.ok(lines.slice(0, -1).some((line) => /^\d+$/.test(line)), 'its progress, before or after what the page logs')
  t.equal(lines.at(-1), '202')
})

t.test('a job is reported in three lines', async (t) => {
  const [report] = page.below('Ten things people ask first')
  t.match(await messagesOf(t, `${APP}await app.register(aiCanvasWs)${FOLLOW}${report!}${REPORT}`), [
    { type: 'ai_start', task: { prompt: 'Render the film' } },
    { type: 'ai_progress', progress: { chunksReceived: 25, contentLength: 1250 } },
    { type: 'ai_complete', result: { chunks: 100, contentLength: 5000 } }
  ])
})
