import { openaiChat } from './sdks/openai-chat.js'
import { testSdk } from './suite.js'

testSdk(openaiChat)
