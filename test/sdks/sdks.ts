import type { Sdk } from './scenario.js'
import { aiSdk5, aiSdk6, aiSdk7 } from './sdks/ai-sdk.js'
import { openaiChat } from './sdks/openai-chat.js'

/** Every SDK that is tried. */
export const sdks: readonly Sdk[] = [openaiChat, ...aiSdk5, ...aiSdk6, ...aiSdk7]
