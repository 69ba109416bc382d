import { openaiResponses } from './sdks/openai-responses.js'
import { testSdk } from './suite.js'

testSdk(openaiResponses)
