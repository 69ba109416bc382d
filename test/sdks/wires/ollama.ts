import type { Wire, Wires } from '../scenario.js'

// Ollama's API, which sends a line of JSON for each chunk: https://docs.ollama.com/api/streaming

const LINES = { 'content-type': 'application/x-ndjson' }
const counts = {
  total_duration: 5043500667, load_duration: 5025959, prompt_eval_count: 9, prompt_eval_duration: 325953000, eval_count: 5, eval_duration: 4709213000
}

interface Said {
  readonly text?: string
  readonly thinking?: string
  readonly tool_calls?: readonly object[]
}

/** Converts the model's output to the format of one of the two endpoints. */
type Put = (said: Said) => object

function wiresOf (put: Put): Wires {
  const chunk = (said: Said, fields: object = { done: false }): object => ({ model: 'qwen3', created_at: '2026-01-01T00:00:00.000000Z', ...put(said), ...fields })
  const end = (done_reason = 'stop'): object => chunk({ text: '' }, { done: true, done_reason, ...counts })
  const stream = (...chunks: readonly object[]): Wire => ({ headers: LINES, body: chunks.map((each) => `${JSON.stringify(each)}\n`) })
  const failure = (status: number, error: string): Wire =>
    ({ status, headers: { 'content-type': 'application/json; charset=utf-8' }, body: [JSON.stringify({ error })] })

  const hello = chunk({ text: 'Héllo ' })
  const world = [chunk({ text: '👋' }), chunk({ text: ' world' })]
  const happy = stream(hello, ...world, end())
  return {
    happy,
    'error-400': failure(400, 'The prompt is too strange'),
    'error-401': failure(401, 'Incorrect API key provided'),
    'error-429': failure(429, 'Rate limit reached'),
    'error-500': failure(500, 'The server had an error'),
    'error-503': failure(503, 'The model is overloaded'),
    'error-529': failure(529, 'Overloaded'),
    'error-middle': stream(hello, { error: 'The server had an error' }),
    'clean-cut': stream(hello),
    'socket-cut': { ...stream(hello), end: 'cut' },
    cancel: { ...stream(hello), end: 'open' },
    length: stream(hello, end('length')),
    reasoning: stream(chunk({ text: '', thinking: 'They greet me.' }), hello, ...world, end()),
    empty: stream(end()),
    'usage-last': happy
  }
}

const chat: Put = ({ text, ...fields }) => ({ message: { role: 'assistant', content: text, ...fields } })

export const ollamaGenerate: Wires = wiresOf(({ text, ...fields }) => ({ response: text, ...fields }))

export const ollamaChat: Wires = {
  ...wiresOf(chat),
  'tool-calls': {
    headers: LINES,
    body: [
      { model: 'qwen3', ...chat({ text: '', tool_calls: [{ function: { index: 0, name: 'find', arguments: { query: 'x' } } }] }), done: false },
      { model: 'qwen3', ...chat({ text: '' }), done: true, done_reason: 'stop', ...counts }
    ].map((chunk) => `${JSON.stringify(chunk)}\n`)
  }
}
