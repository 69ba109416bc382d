import type { AIProgressed } from 'ai-canvas-ws/protocol'
import t from 'tap'
import { runExample } from '../examples/support/example.js'
import { begin, DONE, event, openAIServer } from '../examples/support/openai-server.js'
import { connect, type Message } from '../support/ws-client.js'
import { Wscat } from '../support/wscat.js'
import { Page } from './markdown.js'
import { meets } from './transcript.js'

const session = new Page('lib/jobs/README.md').blocks('text').find(({ heading, text }) => heading === 'Reconnecting' && text.startsWith('$ '))

t.test('the session at the terminal goes as printed: the client is killed in the middle of a job, and finds it again', async (t) => {
  let say: (...texts: string[]) => void = () => undefined
  let finish: () => void = () => undefined
  const model = await openAIServer(t, (response) => {
    say = (...texts) => { for (const text of texts) response.write(event(text)) }
    finish = () => { response.end(event(undefined, 'stop') + DONE) }
    begin(response)
    say('Once upon ')
  })
  const example = runExample(t, { PORT: '0', OPENAI_BASE_URL: model.baseURL, OPENAI_MODEL: 'test' })
  const port = await example.port
  const here = (text: string): string => text.replace('localhost:3001', `localhost:${port}`)
  const watcher = await connect(t, here('ws://localhost:3001/ws?sessionId=my_session'))

  let terminal: Wscat | undefined
  for (const line of session!.text.split('\n')) {
    const [, url] = /^\$ npx wscat -c '(.*)'$/.exec(line) ?? []
    const [, target, type, body] = /^\$ curl (\S+) -H 'content-type: (\S+)' -d '(.*)'$/.exec(line) ?? []
    if (url !== undefined) {
      terminal = new Wscat(t, '-c', here(url))
    } else if (target !== undefined) {
      const response = await fetch(`http://${here(target)}`, { method: 'POST', headers: { 'content-type': type! }, body: body! })
      t.equal(response.status, 202, line)
    } else if (line === '^C') {
      await terminal!.interrupt()
      say('a time ', 'there was')
      // The terminal is closed by now, so a second client waits for the messages.
      while ((await watcher.nextOf('ai_progress') as AIProgressed).progress.chunksReceived !== 3);
    } else if (line.startsWith('< ')) {
      const message = JSON.parse(line.slice(2)) as Message
      if (message.type === 'ai_complete') finish()
      meets(t, await terminal!.shown(), message, line)
    } else {
      t.fail(`nobody knows how to do: ${line}`)
    }
  }
  await terminal!.interrupt()
})
