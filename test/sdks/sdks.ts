import type { Sdk } from './scenario.js'
import { aiSdk5, aiSdk6, aiSdk7 } from './sdks/ai-sdk.js'
import { mastra } from './sdks/mastra.js'
import { openaiChat } from './sdks/openai-chat.js'
import { tanstackAi } from './sdks/tanstack-ai.js'

/** Every SDK that is tried. */
export const sdks: readonly Sdk[] = [openaiChat, ...aiSdk5, ...aiSdk6, ...aiSdk7, mastra, tanstackAi]
