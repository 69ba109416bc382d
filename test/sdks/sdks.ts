import { langchain, langchainEvents, langchainParser, langchainResponses } from './sdks/langchain.js'
import { langgraphEvents, langgraphMessages, langgraphModes, langgraphResponses, langgraphUpdates, langgraphValues } from './sdks/langgraph.js'
import { openaiAgentsChat, openaiAgentsResponses } from './sdks/openai-agents.js'
import type { Sdk } from './scenario.js'
import { aiSdk5, aiSdk6, aiSdk7 } from './sdks/ai-sdk.js'
import { mastra } from './sdks/mastra.js'
import { openaiChat } from './sdks/openai-chat.js'
import { openaiResponses } from './sdks/openai-responses.js'
import { anthropicCreate, anthropicStream } from './sdks/anthropic-messages.js'
import { cohere } from './sdks/cohere.js'
import { googleGenai } from './sdks/google-genai.js'
import { groq } from './sdks/groq.js'
import { mistral } from './sdks/mistral.js'
import { ollamaChat, ollamaGenerate } from './sdks/ollama.js'
import { openaiFetch } from './sdks/openai-fetch.js'
import { openaiBytes } from './sdks/openai-bytes.js'
import { openaiCompletions } from './sdks/openai-completions.js'
import { tanstackAi } from './sdks/tanstack-ai.js'

/** All SDKs that are tested. */
export const sdks: readonly Sdk[] = [
  openaiChat, openaiCompletions, openaiResponses, openaiBytes, openaiFetch, groq, anthropicCreate, anthropicStream, googleGenai, cohere, mistral, ollamaChat,
  ollamaGenerate, ...aiSdk5, ...aiSdk6, ...aiSdk7,
  langchain, langchainResponses, langchainEvents, langchainParser,
  langgraphMessages, langgraphResponses, langgraphModes, langgraphEvents, langgraphUpdates, langgraphValues,
  openaiAgentsChat, openaiAgentsResponses,
  mastra, tanstackAi
]
