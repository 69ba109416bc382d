import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Test } from 'tap'

interface ChatRequest {
  model: string
  stream: boolean
  messages: Array<{ role: string, content: string }>
}

interface Call {
  url: string
  authorization: string | undefined
  body: ChatRequest
  /** Resolves when the client has disconnected before its answer was complete. */
  aborted: Promise<void>
}

export type Answer = (response: ServerResponse, call: Call) => void | Promise<void>

export interface OpenAIServer {
  baseURL: string
  calls: Call[]
}

/**
 * Starts a real HTTP server that implements the chat completions API. It sends the answers in order, and repeats the last one. For
 * a new kind of answer, add a function like `streamed` and `refused`.
 */
export async function openAIServer (t: Test, ...answers: Answer[]): Promise<OpenAIServer> {
  const calls: Call[] = []
  async function take (request: IncomingMessage, response: ServerResponse): Promise<void> {
    const call: Call = {
      url: `${request.method ?? ''} ${request.url ?? ''}`,
      authorization: request.headers.authorization,
      body: JSON.parse(await text(request)) as ChatRequest,
      aborted: once(response, 'close').then(() => undefined)
    }
    calls.push(call)
    await (answers[calls.length - 1] ?? answers.at(-1))?.(response, call)
  }
  const server = createServer((request, response) => { void take(request, response) })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return { baseURL: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`, calls }
}

/** Returns one event of a stream. */
export function event (content: string | undefined, finishReason: string | null = null): string {
  const delta = content === undefined ? {} : { content }
  return data({ id: 'chatcmpl-1', object: 'chat.completion.chunk', created: 1, model: 'test', choices: [{ index: 0, delta, finish_reason: finishReason }] })
}

export function data (value: unknown): string {
  return `data: ${JSON.stringify(value)}\n\n`
}

export const DONE = 'data: [DONE]\n\n'

export function begin (response: ServerResponse): void {
  response.writeHead(200, { 'content-type': 'text/event-stream' })
  response.flushHeaders()
}

/** Returns an answer that sends these texts as a whole stream, in packets of `bytesPerWrite` bytes. */
export function streamed (texts: readonly string[], { finishReason = 'stop', bytesPerWrite = Infinity } = {}): Answer {
  return async (response) => {
    response.socket?.setNoDelay(true)
    begin(response)
    const bytes = Buffer.from([...texts.map((content) => event(content)), event(undefined, finishReason), DONE].join(''))
    for (let at = 0; at < bytes.length; at += bytesPerWrite) {
      await new Promise<void>((resolve) => { response.write(bytes.subarray(at, Math.min(bytes.length, at + bytesPerWrite)), () => { setImmediate(resolve) }) })
    }
    response.end()
  }
}

export function refused (status: number, error: unknown, headers: Record<string, string> = {}): Answer {
  return (response) => {
    response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify({ error }))
  }
}

async function text (request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks).toString()
}
