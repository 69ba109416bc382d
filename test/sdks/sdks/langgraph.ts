import { baseline, type Expected, type ScenarioName, type Sdk } from '../scenario.js'
import { openaiChat, toolLoop as chatLoop } from '../wires/openai-chat.js'
import { openaiChatWhole, toolLoop as wholeLoop } from '../wires/openai-chat-whole.js'
import { openaiResponses, toolLoop as responsesLoop } from '../wires/openai-responses.js'
import { lost, modelOf } from './langchain.js'

type Open = Parameters<Sdk['open']>[0]
type Mode = 'messages' | 'updates' | 'values'

const input = { messages: [{ role: 'user', content: 'Hello' }] }

/**
 * Returns a graph with a node that calls the model. In the scenario `tool-loop`, another node replies to its tool call. With
 * `greets`, another node emits text before it.
 */
async function graphOf ({ url, scenario }: Open, { useResponsesApi = false, greets = false } = {}) {
  const { END, MessagesAnnotation, START, StateGraph } = await import('@langchain/langgraph')
  const { AIMessage, ToolMessage } = await import('@langchain/core/messages')
  const model = await modelOf(url, useResponsesApi)
  const callsOf = (message: unknown) => AIMessage.isInstance(message) ? message.tool_calls ?? [] : []
  const graph = new StateGraph(MessagesAnnotation).addNode('agent', async ({ messages }) => ({ messages: [await model.invoke(messages)] }))
  if (greets) return graph.addNode('greeter', () => ({ messages: [new AIMessage('Héllo ')] })).addEdge(START, 'greeter').addEdge('greeter', 'agent').compile()
  if (scenario !== 'tool-loop') return graph.addEdge(START, 'agent').compile()
  return graph
    .addNode('tools', ({ messages }) => ({ messages: callsOf(messages.at(-1)).map(({ id = '' }) => new ToolMessage('A tool\'s result is no text', id)) }))
    .addEdge(START, 'agent').addEdge('tools', 'agent')
    .addConditionalEdges('agent', ({ messages }) => callsOf(messages.at(-1)).length > 0 ? 'tools' : END)
    .compile()
}

/** The expectations for the pieces that a node's `model.invoke` emits. They lack the finish reason and the index of their choice. */
const pieces: Partial<Record<ScenarioName, Expected>> = {
  ...Object.fromEntries((['happy', 'length', 'content-filter', 'tool-calls', 'reasoning', 'empty', 'usage-last'] as const).map((scenario) => [scenario, {
    status: 'complete', text: ['length', 'content-filter'].includes(scenario) ? 'Héllo ' : ['tool-calls', 'empty'].includes(scenario) ? '' : 'Héllo 👋 world', finishReason: 'unknown'
  }])),
  ...lost,
  'two-choices': { status: 'complete', text: 'SalutHéllo  monde👋 world', finishReason: 'unknown' },
  'tool-loop': { ...baseline['tool-loop'], finishReason: 'unknown' }
}

export const langgraphMessages: Sdk = {
  name: 'langgraph-messages',
  about: '@langchain/langgraph, graph.stream of messages',
  node: 20,
  recorded: ['happy', 'clean-cut', 'two-choices', 'tool-loop'],
  wires: { ...openaiChat, 'tool-loop': chatLoop },
  expected: pieces,
  open: async (open: Open) => (await graphOf(open)).stream(input, { streamMode: 'messages', signal: open.signal })
}

export const langgraphResponses: Sdk = {
  name: 'langgraph-responses',
  about: '@langchain/langgraph, graph.stream of messages from responses',
  node: 20,
  recorded: ['happy', 'run-failed', 'refusal', 'length'],
  wires: { ...openaiResponses, 'tool-loop': responsesLoop },
  // LangChain drops the failure event and its message.
  expected: { 'run-failed': { status: 'error', text: 'Héllo ', type: 'incomplete' } },
  open: async (open: Open) => (await graphOf(open, { useResponsesApi: true })).stream(input, { streamMode: 'messages', signal: open.signal })
}

export const langgraphModes: Sdk = {
  name: 'langgraph-modes',
  about: '@langchain/langgraph, graph.stream of several modes and subgraphs',
  node: 20,
  recorded: ['happy', 'tool-loop'],
  wires: { ...openaiChat, 'tool-loop': chatLoop },
  expected: pieces,
  open: async (open: Open) => (await graphOf(open)).stream(input, { streamMode: ['updates', 'messages', 'values'] as Mode[], subgraphs: true, signal: open.signal })
}

export const langgraphEvents: Sdk = {
  name: 'langgraph-events',
  about: '@langchain/langgraph, graph.streamEvents v2',
  node: 20,
  recorded: ['happy'],
  wires: { ...openaiChat, 'tool-loop': chatLoop },
  expected: pieces,
  open: async (open: Open) => (await graphOf(open)).streamEvents(input, { version: 'v2', signal: open.signal })
}

/** The expectations for modes that emit only a node's whole message. */
const whole: Partial<Record<ScenarioName, Expected>> = {
  // A truncated body is not valid JSON.
  'clean-cut': { status: 'error', text: '' },
  'socket-cut': { status: 'error', text: '', type: 'connection_error' },
  refusal: { status: 'complete', text: '', finishReason: 'stop' }
}

export const langgraphUpdates: Sdk = {
  name: 'langgraph-updates',
  about: '@langchain/langgraph, graph.stream of updates',
  node: 20,
  wires: { ...openaiChatWhole, 'tool-loop': wholeLoop },
  expected: whole,
  open: async (open: Open) => (await graphOf(open, { greets: open.scenario === 'cancel' })).stream(input, { streamMode: 'updates', signal: open.signal })
}

export const langgraphValues: Sdk = {
  name: 'langgraph-values',
  about: '@langchain/langgraph, graph.stream of values',
  node: 20,
  wires: { ...openaiChatWhole, 'tool-loop': wholeLoop },
  expected: whole,
  open: async (open: Open) => (await graphOf(open, { greets: open.scenario === 'cancel' })).stream(input, { streamMode: 'values', signal: open.signal })
}
