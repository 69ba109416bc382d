import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Test } from 'tap'
import { runSnippet } from './snippets.js'

// The environment in which the blocks of a page run: an app, a browser's `WebSocket` and a model.

/** Code that defines a browser's `WebSocket`. It connects to the app, whatever host the block names. */
export const BROWSER = `
  import { once } from 'node:events'
  import { WebSocket as WS } from 'ws'
  const here = { origin: '' }
  Object.assign(globalThis, { WebSocket: class extends WS {
    constructor (url, protocols) { super(url.replace(/^wss?:\\/\\/[^/]+/, here.origin), protocols) }
  } })
  const listening = (app) => { here.origin = 'ws://127.0.0.1:' + app.server.address().port }
`
/** Code that creates the app that the text around a block mentions. */
export const APP = `${BROWSER}
  import Fastify from 'fastify'
  import aiCanvasWs from 'ai-canvas-ws'
  const sessionId = 's'
  const app = Fastify()
`
/** Code that follows the registration. It connects a client to the session `s` and collects the messages of the client. */
export const FOLLOW = `
  await app.listen({ port: 0, host: '127.0.0.1' })
  listening(app)
  const client = new WebSocket('ws://x/ws?sessionId=s')
  const messages = []
  client.on('message', (data) => messages.push(JSON.parse(String(data))))
  await once(client, 'message')
`
/** Code that closes the app, and prints the messages that the client has received after the first one. */
export const REPORT = `
  await app.close()
  if (client.readyState !== WS.CLOSED) await once(client, 'close')
  console.log(JSON.stringify(messages.slice(1)))
`

export const anyPort = (code: string): string => code.replace('port: 3001', 'port: 0, host: \'127.0.0.1\'')
export const messagesOf = async (t: Test, code: string): Promise<unknown[]> => JSON.parse(await runSnippet(t, code)) as unknown[]

/**
 * Starts a fake model with OpenAI's API, for programs that run in the returned environment. `ends` determines whether its
 * response ends by itself.
 */
export async function modelFor (t: Test, { ends }: { ends: boolean }): Promise<{ env: NodeJS.ProcessEnv, stopped: Promise<void> }> {
  let stop: () => void = () => undefined
  const stopped = new Promise<void>((resolve) => { stop = resolve })
  const model = createServer((request, response) => {
    request.resume()
    response.setHeader('content-type', 'text/event-stream')
    for (const content of ['Once ', 'upon']) response.write(`data: ${JSON.stringify({ choices: [{ index: 0, delta: { content } }] })}\n\n`)
    if (ends) response.end(`data: ${JSON.stringify({ choices: [], usage: { prompt_tokens: 7, completion_tokens: 2 } })}\n\ndata: [DONE]\n\n`)
    response.on('close', stop)
  })
  model.listen(0, '127.0.0.1')
  await once(model, 'listening')
  t.teardown(() => {
    model.closeAllConnections()
    model.close()
  })
  const { port } = model.address() as AddressInfo
  return { env: { OPENAI_API_KEY: 'none', OPENAI_BASE_URL: `http://127.0.0.1:${port}/v1` }, stopped }
}
