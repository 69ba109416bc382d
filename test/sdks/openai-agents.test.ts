import { openaiAgentsChat, openaiAgentsResponses } from './sdks/openai-agents.js'
import { testSdk } from './suite.js'

for (const sdk of [openaiAgentsChat, openaiAgentsResponses]) testSdk(sdk)
