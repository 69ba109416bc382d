import { existsSync, readFileSync } from 'node:fs'
import t from 'tap'
import { Page } from './markdown.js'
import { runSnippet } from './snippets.js'
import { anyPort, BROWSER } from './stage.js'

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

t.test('the quick start runs: the page logs that the job is done', async (t) => {
  const [server, browser] = page.below('Quick start')
  const output = await runSnippet(t, `${BROWSER}${anyPort(server!)}\nlistening(app)\n${browser!}\n
    await once(ws, 'message')
    await app.inject({ method: 'POST', url: '/work' })
    await app.close()
    if (ws.readyState !== WS.CLOSED) await once(ws, 'close')`)
  t.equal(output, 'done { contentLength: 5000 }\n')
})
