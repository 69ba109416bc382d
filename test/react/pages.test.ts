import t from 'tap'
import { Page } from '../docs/markdown.js'
import { act, cleanup, createElement, fireEvent, loadComponents, network, render, renderToString, waitFor } from './components.js'

// Tests the components that README.md and lib/react/README.md show. The test is in this folder because React's types include those
// of a browser.

const page = new Page('lib/react/README.md')

t.test('the component of the quick start works', async (t) => {
  const [component] = new Page('README.md').below('Quick start', 'tsx')
  const { Job } = await loadComponents<'Job'>(t, component!)
  const { container, getByText } = render(createElement(Job, { sessionId: 'my_session' }))
  t.match(container.textContent, 'connecting')
  await act(async () => {
    network.socket.admit()
    network.socket.say(
      { type: 'subscribed', sessionId: 'my_session', epoch: 'e', seq: 0, recovered: false, reason: 'new', replaying: 0 },
      { type: 'ai_start', sessionId: 'my_session', task: {}, timestamp: 't', jobId: 'j', seq: 1 },
      { type: 'ai_progress', sessionId: 'my_session', progress: { chunksReceived: 1, contentLength: 5, delta: 'Once ', offset: 0 }, timestamp: 't', jobId: 'j' }
    )
  })
  await waitFor(() => { if (container.textContent !== 'processingOnce Stop') throw new Error(container.textContent) })
  t.equal(container.querySelector('section')?.getAttribute('aria-busy'), 'true')
  fireEvent.click(getByText('Stop'))
  t.match(network.socket.sent.at(-1), { type: 'cancel', sessionId: 'my_session', jobId: 'j' })
  await act(async () => {
    network.socket.say({ type: 'ai_error', sessionId: 'my_session', error: { message: 'stopped', type: 'cancelled' }, timestamp: 't', jobId: 'j', seq: 2 })
  })
  t.equal(container.querySelector('[role=alert]')?.textContent, 'stopped')
  cleanup()
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
