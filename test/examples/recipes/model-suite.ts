import { once } from 'node:events'
import t from 'tap'
import { WebSocket } from 'ws'
import { createClient } from 'ai-canvas-ws/client'
import { startProvider } from '../../sdks/provider.js'
import type { Wires } from '../../sdks/scenario.js'
import { connect, open, type Message, type TestClient } from '../../support/ws-client.js'
import { jobMessages } from '../support/job-messages.js'
import { post, startRecipe, whyNot, type Answer } from './support.js'

export interface ModelRecipe {
  readonly name: string
  /** The responses of the provider's API. */
  readonly wires: Wires
  /** Returns the recipe's environment variables for a provider at this URL. */
  readonly env: (url: string) => Record<string, string>
  /** The text of a whole job. */
  readonly text?: string
  readonly result?: object
}

const textOf = (messages: Message[]): string => messages.map(({ progress }) => (progress as { delta?: string } | undefined)?.delta ?? '').join('')

async function untilText (client: TestClient): Promise<void> {
  while ((await client.nextOf('ai_progress') as unknown as { progress: { delta?: string } }).progress.delta === undefined);
}

/** Tests a recipe that calls a model, with the real SDK and a local provider. The tests depend on the order of the provider's responses. */
export function testModelRecipe ({ name, wires, env, text = 'Héllo 👋 world', result = { finishReason: 'stop' } }: ModelRecipe): void {
  t.test(name, { skip: whyNot() }, async (all) => {
    const unfinished = wires.cancel!
    const provider = await startProvider({ ...wires['error-401']!, next: { ...unfinished, next: { ...unfinished, next: { ...unfinished, next: wires.happy! } } } })
    all.teardown(() => { provider.close() })
    const recipe = await startRecipe(all, name, env(provider.url))
    const follow = (sessionId: string): Promise<TestClient> => connect(all, `${recipe.ws}?sessionId=${sessionId}`)
    const ask = (sessionId: string): Promise<Answer> => post(`${recipe.url}/ask`, { sessionId, prompt: 'Hello' })

    all.test('it refuses pages of other hosts, and requests that lack something', async (t) => {
      t.match(await post(`${recipe.url}/ask`, { sessionId: '', prompt: 'Hello' }), { status: 400 })
      t.match(await post(`${recipe.url}/ask`, { sessionId: '\u0000', prompt: 'Hello' }), { status: 400 }, 'no id of a session')
      t.match(await post(`${recipe.url}/ask`, { sessionId: 's' }), { status: 400 })
      t.match(await open(t, recipe.ws, { origin: 'https://evil.example' }).closed, { code: 4501 })
    })

    all.test('a failure of the provider ends the job, and not the server', async (t) => {
      const client = await follow('failing')
      t.match(await ask('failing'), { status: 202, body: { sessionId: 'failing' } })
      t.match(await client.nextOf('ai_error'), { error: { type: 'authentication_error', retryable: false } })
      await client.sync()
    })

    all.test('a cancel closes the request to the provider and reaches all subscribers', async (t) => {
      const first = await follow('cancelled')
      await ask('cancelled')
      await untilText(first)
      const second = await follow('cancelled')
      t.match(await second.nextOf('ai_progress'), { progress: { delta: 'Héllo ', offset: 0 }, replayed: 'snapshot' }, 'a client in the middle has the text')
      const closed = once(await provider.opened, 'close')
      second.send({ type: 'cancel', sessionId: 'cancelled' })
      await closed
      for (const each of [first, second]) t.match(await each.nextOf('ai_error'), { error: { type: 'cancelled' } })
    })

    all.test('a server that is stopped ends its jobs first, and the request to the provider', async (t) => {
      const client = await follow('stopped')
      await ask('stopped')
      await untilText(client)
      const closed = once(provider.open!, 'close')
      const stopped = recipe.stop('SIGTERM')
      t.match(await client.nextOf('ai_error'), { error: { type: 'interrupted' } })
      await closed
      t.match(await stopped, { code: 0 })
      await recipe.start()
    })

    all.test('a job that a restart ended is shown as lost', async (t) => {
      const client = createClient({
        url: recipe.ws, sessionId: 'lost', WebSocket, reconnectInterval: 50, maxReconnectIntervalMs: 500, maxReconnectAttempts: 1_000
      })
      t.teardown(() => { client.close() })
      const opened = new Promise((resolve) => { client.on('open', resolve) })
      const lost = new Promise((resolve) => { client.on('ai_error', resolve) })
      // Progress without text may precede the request to the provider. If the server dies in between, the provider gets no request.
      const hasText = new Promise<void>((resolve) => {
        client.on('ai_progress', ({ progress }) => { if ((progress as { delta?: string }).delta !== undefined) resolve() })
      })
      client.connect()
      await opened
      await ask('lost')
      await hasText
      await recipe.stop()
      await recipe.start()
      t.match(await lost, { error: { type: 'lost' } })
    })

    all.test('the text grows, and a client that comes late has all of it', async (t) => {
      const client = await follow('whole')
      await ask('whole')
      const messages = await jobMessages(client)
      t.match(messages[0], { type: 'ai_start', task: { prompt: 'Hello' } })
      t.equal(textOf(messages), text)
      t.match(messages.at(-1), { type: 'ai_complete', result })
      const late = await jobMessages(await follow('whole'))
      t.equal(textOf(late), text)
      t.match(late.at(-1), { type: 'ai_complete', result, replayed: 'snapshot' })
    })
  })
}
