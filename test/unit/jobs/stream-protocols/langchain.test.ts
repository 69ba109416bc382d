import t from 'tap'
import { readChunks } from '../../../support/streams.js'

// Instances of LangChain's messages, as their own properties show them. The recorded chunks have the serialised form.
const piece = (content: unknown, fields: object = {}): object => ({
  lc_serializable: true, lc_kwargs: { content }, lc_namespace: ['langchain_core', 'messages'], id: 'chatcmpl-1', content, additional_kwargs: {}, response_metadata: {}, type: 'ai', ...fields
})
const finished = (response_metadata: object, fields: object = {}): object => piece('', { response_metadata, ...fields })
const serialised = (name: string, kwargs: unknown): object => ({ lc: 1, type: 'constructor', id: ['langchain_core', 'messages', name], kwargs })

t.test('the text of chunks, as a string and in parts', (t) => {
  const parts = [{ type: 'text', text: 'b' }, { type: 'reasoning', reasoning: 'hm' }, { type: 'tool_call_chunk', args: '{}' }, { type: 'text' }, null, 7, { type: 'text', text: 'c' }]
  t.same(readChunks([piece('a'), piece(parts)]), { status: 'complete', text: 'abc', finishReason: 'unknown' })
  t.equal(readChunks([serialised('AIMessageChunk', { content: 'a' }), serialised('AIMessage', { content: 'b' })]).text, 'ab')
  t.end()
})

t.test('a message without a role is a model\'s, one of another role is not', (t) => {
  t.equal(readChunks([piece('a', { type: 'generic', role: undefined }), serialised('ChatMessageChunk', { content: 'b' })]).text, 'ab')
  const others = [piece('x', { type: 'human' }), piece('x', { type: 'tool' }), piece('x', { type: 'generic', role: 'user' }), serialised('ToolMessage', { content: 'x' })]
  t.equal(readChunks([piece('a'), ...others]).text, 'a')
  t.equal(readChunks([piece('a'), { type: 'error', error: 'Out of memory' }]).status, 'error')
  t.end()
})

t.test('of several choices the first is the text', (t) => {
  const other = piece('x', { response_metadata: { completion: 1, finish_reason: 'length' } })
  t.match(readChunks([piece('a', { response_metadata: { completion: 0, finish_reason: 'stop' } }), other]), { text: 'a', finishReason: 'stop' })
  t.end()
})

t.test('refusals and transcripts are text', (t) => {
  const refused = { text: 'No.', finishReason: 'refusal' }
  t.match(readChunks([piece([], { additional_kwargs: { refusal: 'No.' } }), finished({ finish_reason: 'stop' })]), refused)
  t.match(readChunks([piece([{ type: 'refusal', refusal: 'No.' }], { additional_kwargs: { refusal: 'No.' } }), finished({ stop_reason: 'end_turn' })]), refused)
  t.equal(readChunks([piece('', { additional_kwargs: { audio: { transcript: 'a' } } }), piece('', { additional_kwargs: { audio: { data: 'AA==' } } })]).text, 'a')
  t.end()
})

t.test('each provider\'s word for the finish reason', (t) => {
  const rows: Array<[metadata: object, reason: string, fields?: object]> = [
    [{ finish_reason: 'tool_calls' }, 'tool_calls'], [{ finishReason: 'MAX_TOKENS' }, 'length'], [{ stop_reason: 'pause_turn' }, 'pause'],
    [{ stopReason: 'content_filtered' }, 'content_filter'], [{ done_reason: 'length' }, 'length'], [{}, 'refusal', { additional_kwargs: { stop_reason: 'refusal' } }],
    [{ finish_reason: 'a_new_one' }, 'unknown'], [{ finish_reason: null }, 'unknown'], [{ status: 'completed' }, 'unknown']
  ]
  for (const [metadata, finishReason, fields] of rows) t.match(readChunks([finished(metadata, fields)]), { status: 'complete', finishReason })
  t.match(readChunks([finished({ finish_reason: 'error' })]), { status: 'error', type: 'api_error' })
  t.end()
})

t.test('a response that begins must end', (t) => {
  const begun = piece([], { response_metadata: { model_provider: 'openai', id: 'resp_1' } })
  const response = (status: string, fields: object = {}): object => piece([], { response_metadata: { model_provider: 'openai', object: 'response', status, ...fields } })
  const text = piece([{ type: 'text', text: 'a' }])
  t.match(readChunks([begun, text]), { status: 'error', text: 'a', type: 'incomplete' })
  t.match(readChunks([begun, text, response('completed')]), { status: 'complete', text: 'a', finishReason: 'stop' })
  t.match(readChunks([begun, text, response('incomplete', { incomplete_details: { reason: 'max_output_tokens' } })]), { status: 'complete', finishReason: 'length' })
  t.match(readChunks([begun, response('failed', { error: { code: 'server_error', message: 'Broken' } })]), { status: 'error', message: 'Broken', type: 'api_error' })
  t.match(readChunks([begun, response('completed'), begun, text]), { status: 'error', type: 'incomplete' }, 'each of several')
  t.end()
})

t.test('the usage of all chunks is the message\'s', (t) => {
  const [first, last] = [{ input_tokens: 9, output_tokens: 0, total_tokens: 9 }, { input_tokens: 0, output_tokens: 5, total_tokens: 5 }]
  t.same(readChunks([piece('a', { usage_metadata: first }), piece('', { usage_metadata: last })]).usage, { inputTokens: 9, outputTokens: 5, totalTokens: 14 })
  t.end()
})

t.test('garbage adds no text', (t) => {
  const garbage = [
    piece(null), piece(7), piece([[]]), piece({}), piece('', { additional_kwargs: 7, response_metadata: 'x', usage_metadata: null }), piece('', { additional_kwargs: { audio: null, refusal: {} } }),
    { lc: 1 }, { lc: 1, id: 7 }, { lc: 1, id: [], kwargs: null }, serialised('AIMessageChunk', null), serialised('AIMessageChunk', { content: [null] }), serialised('HumanMessage', {})
  ]
  t.equal(readChunks([piece('a'), ...garbage]).text, 'a')
  t.end()
})

const run = (event: string, run_id: string, data: unknown = {}): object => ({ event, run_id, name: 'ChatOpenAI', tags: [], metadata: {}, data })
const ended = (content: string, run_id: string, fields: object = {}): object => run('on_chat_model_end', run_id, { output: piece(content, fields) })

t.test('events: a model\'s chunks are the text, and what others make of them is not', (t) => {
  const usage_metadata = { input_tokens: 1, output_tokens: 2, total_tokens: 3 }
  const chunks = [
    run('on_chain_start', 'root'), run('on_chat_model_start', 'a'), run('on_chat_model_stream', 'a', { chunk: piece('a') }), run('on_parser_stream', 'p', { chunk: 'a' }),
    run('on_chain_stream', 'root', { chunk: 'a' }), run('on_chat_model_stream', 'a', { chunk: piece('', { usage_metadata }) }), ended('a', 'a', { usage_metadata }),
    run('on_tool_start', 't'), run('on_tool_error', 't', { error: 'Not found' }), run('on_custom_event', 'c', { text: 'x' }), run('on_retriever_end', 'r', { output: [] }),
    // A model that does not stream, or a call that is nested in a tool.
    ended('b', 'b', { usage_metadata, response_metadata: { finish_reason: 'stop' } }), run('on_chain_end', 'root', { output: 'ab' })
  ]
  t.same(readChunks(chunks), { status: 'complete', text: 'ab', finishReason: 'stop', rawFinishReason: 'stop', usage: { inputTokens: 2, outputTokens: 4, totalTokens: 6 } })
  t.end()
})

t.test('events: the run that began first must end, unless its events are filtered out', (t) => {
  const [start, text, end] = [run('on_chain_start', 'root'), run('on_chat_model_stream', 'a', { chunk: piece('a') }), run('on_chain_end', 'root')]
  t.match(readChunks([start, text]), { status: 'error', text: 'a', type: 'incomplete' })
  t.match(readChunks([start, text, ended('a', 'a')]), { status: 'error', type: 'incomplete' })
  t.match(readChunks([start, text, end]), { status: 'complete', text: 'a' })
  t.match(readChunks([text, ended('a', 'a')]), { status: 'complete', text: 'a' })
  t.end()
})

t.test('events: plain models, graphs that wait for a person, and garbage', (t) => {
  t.equal(readChunks([run('on_llm_stream', 'a', { chunk: { text: 'a', generationInfo: {} } }), run('on_llm_end', 'a', { output: { generations: [] } })]).text, 'a')
  t.match(readChunks([run('on_chain_stream', 'root', { chunk: { __interrupt__: [{ value: 'Sure?' }] } })]), { status: 'complete', finishReason: 'pause', rawFinishReason: 'interrupt' })
  const garbage = [run('on_chat_model_stream', 'a'), run('on_chat_model_stream', 'a', { chunk: 7 }), run('on_chat_model_end', 'a'), run('on_llm_stream', 'a', 'x'), { event: 'on_', data: null }, { event: 'on_x' }]
  t.equal(readChunks([run('on_chat_model_stream', 'a', { chunk: piece('a') }), ...garbage]).text, 'a')
  t.end()
})

const told = (message: object): unknown[] => [message, { langgraph_node: 'agent' }]
const answer = (content: string, id?: string): object => piece(content, { id, usage_metadata: { input_tokens: 1, output_tokens: 1, total_tokens: 2 } })
const human = piece('x', { type: 'human', id: 'h' })

t.test('graphs: a message is text once, in whatever mode', (t) => {
  const usage = { inputTokens: 2, outputTokens: 2, totalTokens: 4 }
  const all = { status: 'complete', text: 'abc', finishReason: 'unknown', usage }
  const pieces = [told(piece('a', { id: '1' })), told(answer('b', '1')), told(piece('x', { type: 'tool', id: '2' })), told(answer('c', '3'))]
  const updates = [{ planner: null }, { agent: { messages: [answer('ab', '1')] } }, { tools: [{ messages: [piece('x', { type: 'tool' })] }] }, { agent: { messages: answer('c', '3') } }]
  const values = [{ messages: [human, answer('x', 'old')] }, { messages: [human, answer('x', 'old'), answer('ab', '1')] }, { messages: [human, answer('x', 'old'), answer('ab', '1'), answer('c', '3')] }]
  t.same(readChunks(pieces), all)
  t.same(readChunks(updates), all)
  t.same(readChunks(values), all)
  const mixed = [...pieces.map((data) => ['messages', data]), ...updates.map((data) => ['updates', data]), ...values.slice(1).map((data) => ['values', data]), ['custom', { text: 'x' }]]
  t.same(readChunks(mixed), all)
  t.same(readChunks(mixed.slice(0, 8).reverse()).usage, usage, 'whichever comes first')
  t.same(readChunks(mixed.map(([mode, data]) => [['tools:1'], mode, data])), all, 'with namespaces')
  t.same(readChunks(pieces.map((data) => [[], data])), all, 'of one mode with namespaces')
  t.same(readChunks(updates.map((data) => [[], data])), all)
  t.end()
})

t.test('graphs: messages without ids are told apart', (t) => {
  const message = answer('a')
  t.equal(readChunks([{ agent: { messages: [message] } }, { agent: { messages: [message, answer('b')] } }]).text, 'ab')
  t.equal(readChunks([['updates', { agent: { messages: [message] } }], ['messages', told(message)]]).text, 'a')
  t.end()
})

t.test('graphs: one that waits for a person has paused', (t) => {
  const paused = { status: 'complete', finishReason: 'pause', rawFinishReason: 'interrupt' }
  t.match(readChunks([{ __interrupt__: [{ value: 'Sure?' }] }]), paused)
  t.match(readChunks([['updates', { agent: { messages: [answer('a')] } }], ['updates', { __interrupt__: [] }]]), { ...paused, text: 'a' })
  t.end()
})

t.test('graphs: garbage adds no text', (t) => {
  const garbage = [
    [], [[]], [[], []], [[], 7], [null], [null, null], ['messages'], ['messages', null], ['messages', []], ['updates', 7], ['updates', { agent: 7, tools: null }], ['values', null],
    ['values', { messages: [null, 7] }], [['a'], 'messages', {}], {}, { agent: null }, { agent: [null] }, 7, [7, 8, 9, 10]
  ]
  t.equal(readChunks([told(piece('a')), ...garbage]).text, 'a')
  t.end()
})

t.test('bytes of a graph\'s event stream are read as what they are', (t) => {
  const event = (data: unknown): string => `event: messages\ndata: ${JSON.stringify(data)}\n\n`
  const bytes = Buffer.from([serialised('AIMessageChunk', { content: 'é' }), serialised('AIMessageChunk', { content: 'b' })].map((message) => event([message, {}])).join(''))
  t.equal(readChunks([bytes.subarray(0, 50), bytes.subarray(50)]).text, 'éb')
  t.end()
})
