import { agUi } from './ag-ui.js'
import { aiSdk } from './ai-sdk.js'
import { anthropicMessages } from './anthropic-messages.js'
import { cohere } from './cohere.js'
import { googleGenai } from './google-genai.js'
import { mistral } from './mistral.js'
import { ollama } from './ollama.js'
import { langChain } from './langchain.js'
import { langChainEvents } from './langchain-events.js'
import { langGraph } from './langgraph.js'
import { openaiAgents } from './openai-agents.js'
import { mastra } from './mastra.js'
import { openaiChat } from './openai-chat.js'
import { openaiResponses } from './openai-responses.js'
import type { StreamProtocol } from './protocol.js'

/** The known stream protocols, in the order in which they are tried on a chunk. */
export const protocols: readonly StreamProtocol[] = [
  openaiChat, openaiResponses, anthropicMessages, aiSdk, googleGenai, cohere, mistral, ollama,
  openaiAgents, langChain, langChainEvents, langGraph, mastra, agUi
]
