import type { Sdk } from './scenario.js'
import { openaiChat } from './sdks/openai-chat.js'

/** Every SDK that is tried. */
export const sdks: readonly Sdk[] = [openaiChat]
