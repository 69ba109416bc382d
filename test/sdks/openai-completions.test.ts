import { openaiCompletions } from './sdks/openai-completions.js'
import { testSdk } from './suite.js'

testSdk(openaiCompletions)
