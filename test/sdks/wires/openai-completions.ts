import { events, type Wires } from '../scenario.js'
import { openaiChat } from './openai-chat.js'

// OpenAI's legacy Completions API, which local servers still offer: https://platform.openai.com/docs/api-reference/completions

const SSE = { 'content-type': 'text/event-stream' }

function chunk (text: string, finish_reason: string | null = null, index = 0): object {
  return { id: 'cmpl-7', object: 'text_completion', created: 1767225600, model: 'gpt-3.5-turbo-instruct', choices: [{ text, index, logprobs: null, finish_reason }] }
}

const usage = { id: 'cmpl-7', object: 'text_completion', created: 1767225600, choices: [], usage: { prompt_tokens: 9, completion_tokens: 5, total_tokens: 14 } }
const whole = [chunk('Héllo '), chunk('👋'), chunk(' world'), chunk('', 'stop')]
const stream = (...chunks: readonly object[]): { headers: typeof SSE, body: string[] } => ({ headers: SSE, body: events(...chunks, '[DONE]') })

export const openaiCompletions: Wires = {
  ...openaiChat,
  happy: stream(...whole, usage),
  'error-middle': { headers: SSE, body: events(chunk('Héllo '), { error: { message: 'The server had an error', type: 'server_error', code: null } }) },
  'clean-cut': { headers: SSE, body: events(chunk('Héllo ')) },
  'socket-cut': { headers: SSE, body: events(chunk('Héllo ')), end: 'cut' },
  cancel: { headers: SSE, body: events(chunk('Héllo ')), end: 'open' },
  refusal: undefined,
  length: stream(chunk('Héllo ', 'length')),
  'content-filter': stream(chunk('Héllo ', 'content_filter')),
  'tool-calls': undefined,
  reasoning: undefined,
  'two-choices': stream(chunk('Salut', null, 1), chunk('Héllo '), chunk('👋'), chunk(' monde', 'length', 1), chunk(' world', 'stop')),
  empty: stream(chunk('', 'stop')),
  'usage-last': stream(...whole, usage)
}
