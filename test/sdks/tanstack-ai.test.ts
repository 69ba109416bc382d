import { tanstackAi } from './sdks/tanstack-ai.js'
import { testSdk } from './suite.js'

testSdk(tanstackAi)
