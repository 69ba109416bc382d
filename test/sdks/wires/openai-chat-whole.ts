import { further, type Wire, type Wires } from '../scenario.js'
import { openaiChat } from './openai-chat.js'

// OpenAI's chat completions without `stream`, as frameworks request them if nothing needs the pieces:
// https://platform.openai.com/docs/api-reference/chat/object

const JSON_TYPE = { 'content-type': 'application/json' }
const usage = { prompt_tokens: 9, completion_tokens: 5, total_tokens: 14 }
const whole = 'Héllo 👋 world'

function choice (message: object, finish_reason = 'stop', index = 0): object {
  return { index, message: { role: 'assistant', refusal: null, ...message }, logprobs: null, finish_reason }
}

function completion (...choices: readonly object[]): Wire {
  const body = { id: 'chatcmpl-7', object: 'chat.completion', created: 1767225600, model: 'gpt-5-mini', choices, usage }
  return { headers: JSON_TYPE, body: [JSON.stringify(body)] }
}

const call = { id: 'call_1', type: 'function', function: { name: 'find', arguments: '{"query":"x"}' } }

export const openaiChatWhole: Wires = {
  ...Object.fromEntries(Object.entries(openaiChat).filter(([scenario]) => /^error-\d/.test(scenario))),
  happy: completion(choice({ content: whole })),
  'clean-cut': { headers: JSON_TYPE, body: ['{"id":"chatcmpl-7","object":"chat.completion","choices":[{"index":0,'] },
  'socket-cut': { headers: { ...JSON_TYPE, 'content-length': '1000' }, body: ['{"id":"chatcmpl-7",'], end: 'cut' },
  cancel: { headers: JSON_TYPE, body: ['{"id":"chatcmpl-7",'], end: 'open' },
  refusal: completion(choice({ content: null, refusal: 'I can\'t help with that.' })),
  length: completion(choice({ content: 'Héllo ' }, 'length')),
  'content-filter': completion(choice({ content: 'Héllo ' }, 'content_filter')),
  'tool-calls': completion(choice({ content: null, tool_calls: [call] }, 'tool_calls')),
  reasoning: completion(choice({ content: whole, reasoning_content: 'They greet me.' })),
  'two-choices': completion(choice({ content: whole }), choice({ content: 'Salut' }, 'length', 1)),
  empty: completion(choice({ content: '' }))
}

/** For frameworks that call tools by themselves: a tool call, and the reply to its result. */
export const toolLoop: Wire = { ...openaiChatWhole['tool-calls']!, next: further(openaiChatWhole.happy!) }
