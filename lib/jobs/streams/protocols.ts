import { agUi } from './ag-ui.js'
import { aiSdk } from './ai-sdk.js'
import { mastra } from './mastra.js'
import { openaiChat } from './openai-chat.js'
import type { StreamProtocol } from './protocol.js'

/** The known stream protocols, in the order in which they are asked whether a chunk is theirs. */
export const protocols: readonly StreamProtocol[] = [openaiChat, aiSdk, mastra, agUi]
