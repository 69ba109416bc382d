import { openaiBytes } from './sdks/openai-bytes.js'
import { testSdk } from './suite.js'

testSdk(openaiBytes)
