import { setImmediate as turn } from 'node:timers/promises'
import { ChatCompletionStream } from 'openai/lib/ChatCompletionStream'
import { Stream } from 'openai/streaming'
import t from 'tap'
import { track, type TrackOptions } from '../../../lib/jobs/track.js'
import type { AISource } from '../../../lib/jobs/track-source.js'
import { readStream } from '../../fixtures/streams/read.js'
import { FakeClock } from '../../support/fake-clock.js'
import { fakeReporter } from '../../support/fake-reporter.js'

function start<T> (source: AISource<T> | PromiseLike<AISource<T>>, options: TrackOptions<T> = { text: true }) {
  const reporter = fakeReporter()
  return { reporter, chunks: track(reporter, {}, source, options, new FakeClock()) }
}

async function readAll<T> (chunks: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = []
  for await (const chunk of chunks) all.push(chunk)
  return all
}

/** A streamed response of OpenAI's API. Without an end it stays open. */
function answer (chunks: readonly object[], end = 'data: [DONE]\n\n') {
  const events = chunks.map((chunk) => `data: ${JSON.stringify(chunk)}\n\n`).join('') + end
  let isCancelled = false
  const body = new ReadableStream<Uint8Array>({
    start: (controller) => {
      controller.enqueue(Buffer.from(events))
      if (end !== '') controller.close()
    },
    cancel: () => { isCancelled = true }
  })
  return { response: new Response(body), isCancelled: () => isCancelled }
}

function openAIStream (response: Response): Stream<object> {
  return Stream.fromSSEResponse<object>(response, new AbortController())
}

/** As in fetch, the signal that aborts the request ends its body. */
function tieBody (response: Response, controller: AbortController): Response {
  const body = response.body!.pipeThrough(new TransformStream<Uint8Array, Uint8Array>(), { signal: controller.signal })
  return new Response(body)
}

const well = ['openai-chat-azure', 'openai-compatible', 'openai-responses-tools', 'anthropic-messages', 'ai-sdk-4', 'ai-sdk-5', 'ai-sdk-5-ui']
for (const name of well) {
  const { about, text, chunks } = readStream(name)
  t.test(`subscribers get the text without configuration: ${about}`, async (t) => {
    const job = start(chunks)
    t.same(await readAll(job.chunks), chunks)
    t.equal(job.reporter.text, text)
    t.match(job.reporter.ends, [['complete', { contentLength: text.length, chunks: chunks.length, finishReason: String }]])
  })
}

for (const name of ['openai-responses-failed', 'openai-responses-error', 'anthropic-error', 'ai-sdk-5-error', 'ai-sdk-5-ui-error', 'ai-sdk-5-abort']) {
  const { about, text, chunks } = readStream(name)
  t.test(`a failure reported in a chunk fails the job: ${about}`, async (t) => {
    const job = start(chunks)
    t.same(await readAll(job.chunks), chunks)
    t.equal(job.reporter.text, text)
    t.match(job.reporter.ends, [['error', { message: String, type: String }]])
  })
}

t.test('the OpenAI SDK\'s own stream, also as the promise that its methods return', async (t) => {
  const { text, chunks } = readStream('openai-chat-azure')
  const job = start(Promise.resolve(openAIStream(answer(chunks).response)))
  t.same(await readAll(job.chunks), chunks)
  t.equal(job.reporter.text, text)
  t.match(job.reporter.ends, [['complete', { contentLength: text.length, chunks: chunks.length }]])
})

t.test('the OpenAI SDK\'s stream helper', async (t) => {
  const { text, chunks } = readStream('openai-chat-azure')
  const whole = chunks.filter((chunk) => !JSON.stringify(chunk).includes('"index":1'))
  const lines = new Blob(whole.map((chunk) => `${JSON.stringify(chunk)}\n`)).stream()
  const job = start<object>(ChatCompletionStream.fromReadableStream(lines as never))
  t.same(await readAll(job.chunks), whole)
  t.equal(job.reporter.text, text)
})

t.test('an error during the OpenAI SDK\'s stream keeps its type', async (t) => {
  const failed = { error: { message: 'The server is overloaded', type: 'server_error' } }
  const { reporter, chunks } = start(openAIStream(answer([...readStream('openai-compatible').chunks.slice(0, 1), failed]).response))
  await t.rejects(readAll(chunks), { message: 'The server is overloaded' })
  t.equal(reporter.text, 'a')
  t.match(reporter.ends, [['error', { type: 'server_error' }]])
})

t.test('a cancel aborts the OpenAI SDK\'s request while its stream waits for the model', async (t) => {
  const controller = new AbortController()
  const { response, isCancelled } = answer(readStream('openai-compatible').chunks.slice(0, 1), '')
  const { reporter, chunks } = start(Stream.fromSSEResponse<object>(tieBody(response, controller), controller))
  await chunks.next()
  const next = chunks.next()
  await turn()
  reporter.cancel()
  await t.rejects(next, { name: 'AbortError' })
  await turn()
  t.equal(isCancelled(), true)
  t.match(reporter.ends, [['error', { type: 'cancelled' }]])
})

t.test('a reader that leaves aborts the OpenAI SDK\'s request', async (t) => {
  const controller = new AbortController()
  const { response, isCancelled } = answer(readStream('openai-compatible').chunks.slice(0, 1), '')
  const { chunks } = start(Stream.fromSSEResponse<object>(tieBody(response, controller), controller))
  for await (const chunk of chunks) {
    t.ok(chunk)
    break
  }
  await turn()
  t.equal(isCancelled(), true)
})

t.test('the OpenAI SDK ends an aborted stream silently, and the job still fails', async (t) => {
  const controller = new AbortController()
  const { response } = answer(readStream('openai-compatible').chunks.slice(0, 1), '')
  const { reporter, chunks } = start(Stream.fromSSEResponse<object>(tieBody(response, controller), controller))
  await chunks.next()
  const next = chunks.next()
  await turn()
  controller.abort()
  await t.rejects(next, { name: 'AbortError' })
  t.match(reporter.ends, [['error', { name: 'AbortError' }]])
})

t.test('the result of the AI SDK\'s streamText, and its textStream', async (t) => {
  const { text, chunks } = readStream('ai-sdk-5')
  const streams = () => ReadableStream.from(chunks)
  const answered = { get fullStream () { return streams() }, textStream: ReadableStream.from(['Héllo ', '👋']) }
  const full = start(answered)
  t.same(await readAll(full.chunks), chunks)
  t.equal(full.reporter.text, text)

  const texts = start(answered.textStream)
  t.same(await readAll(texts.chunks), ['Héllo ', '👋'])
  t.equal(texts.reporter.text, text)
})

t.test('the types of the chunks are inferred', async (t) => {
  const strings: string[] = await readAll(start(ReadableStream.from(['a'])).chunks)
  const bytes: Uint8Array[] = await readAll(start(ReadableStream.from([Uint8Array.of(97)]), { text: (chunk) => String(chunk.length) }).chunks)
  const objects: Array<{ token: string }> = await readAll(start(Promise.resolve([{ token: 'a' }]), { text: ({ token }) => token }).chunks)
  const parts: Array<{ type: string }> = await readAll(start({ fullStream: ReadableStream.from([{ type: 'start' }]) }).chunks)
  t.same([strings, bytes.length, objects, parts], [['a'], 1, [{ token: 'a' }], [{ type: 'start' }]])
})
