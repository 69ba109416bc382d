import t from 'tap'
import { bounds } from '../package/size.js'
import { act, cleanup, createElement, fireEvent, loadComponents, network, render, renderToString, waitFor } from './components.js'
import { namesIn, Page } from './markdown.js'
import { propertiesOf } from './snippets.js'

const page = new Page('lib/react/README.md')

t.test('the table of the hooks\' options names every option', async (t) => {
  const rows = page.table('Options')
  const names = rows.flatMap(({ option }) => namesIn(option))
  t.same(names.sort(), propertiesOf('lib/react/use-websocket.ts', 'UseWebSocketOptions').sort())
  t.same(names.filter((name) => name !== 'sessionId'), propertiesOf('lib/react/attachment.ts', 'HookOptions').sort(), 'useAIWebSocket takes the same ones')
  const client = new Page('lib/client/README.md').table('Options')
  for (const row of rows.filter((row) => row.default === 'none')) {
    for (const name of namesIn(row.option)) t.match(client.find(({ option }) => option === name)?.default ?? 'none', 'none', name)
  }
})

t.test('the table of the hooks names all that they return', async (t) => {
  const [plain, ai] = page.table('React hooks')
  t.same(namesIn(plain!.gives).sort(), propertiesOf('lib/react/use-websocket.ts', 'UseWebSocket').sort())
  t.same(namesIn(ai!.gives).sort(), propertiesOf('lib/react/use-ai-websocket.ts', 'UseAIWebSocket').sort())
})

t.test('the size that it gives is the one that is held', async (t) => {
  t.ok(page.text.includes(`: up to ${bounds.react / 1024} KB more.`))
})

t.test('the component shows a job from its start to its end, and stops it', async (t) => {
  const [code] = page.below('React hooks', 'tsx')
  const { Job } = await loadComponents<'Job'>(t, code!)
  const { container, getByText } = render(createElement(Job, { sessionId: 's' }))
  const shows = (text: string): Promise<void> => waitFor(() => { if (container.textContent !== text) throw new Error(container.textContent) })
  t.equal(container.textContent, 'Loading…')
  const say = (...messages: object[]): Promise<void> => act(async () => {
    network.socket.say(...messages.map((message) => ({ sessionId: 's', timestamp: 't', ...message })))
  })
  await act(async () => { network.socket.admit() })
  await say({ type: 'subscribed', epoch: 'e', seq: 0, recovered: false, reason: 'new', replaying: 0 })
  await shows('No job yet')
  await say({ type: 'ai_start', task: {}, jobId: 'j', seq: 1 },
    { type: 'ai_progress', progress: { chunksReceived: 1, contentLength: 5, delta: 'Once ', offset: 0 }, jobId: 'j' })
  await shows('Once Stop')
  fireEvent.click(getByText('Stop'))
  t.match(network.socket.sent.at(-1), { type: 'cancel', sessionId: 's', jobId: 'j' })
  await say({ type: 'ai_complete', result: { contentLength: 5 }, jobId: 'j', seq: 2 })
  await shows('Once Done: 5 characters')
  cleanup()
})

t.test('the provider gives its client to the hooks below it', async (t) => {
  const [code] = page.below('Your own client', 'tsx')
  const [Job] = page.below('React hooks', 'tsx')
  const { App } = await loadComponents<'App'>(t, code!)
  const { Job: Inner } = await loadComponents<'Job'>(t, Job!)
  const { createClient } = await import('../../lib/client/index.js')
  const client = createClient({ url: 'wss://api.example.com/ws' })
  const before = network.sockets.length
  client.connect()
  render(createElement(App, { client }, createElement(Inner, { sessionId: 's' })))
  t.equal(network.sockets.length, before + 1)
  t.equal(network.socket.url.host, 'api.example.com')
  cleanup()
  client.close()
})

t.test('the component for Next.js renders on a server, and connects where it says', async (t) => {
  const [code] = page.below('Next.js and server rendering', 'tsx')
  const { default: Status } = await loadComponents<'default'>(t, code!)
  t.equal(renderToString(createElement(Status, { sessionId: 's', userId: 'u' })), '<p>idle</p>')
  render(createElement(Status, { sessionId: 's', userId: 'u' }))
  t.equal(network.socket.url.host, 'api.example.com')
  cleanup()
})
