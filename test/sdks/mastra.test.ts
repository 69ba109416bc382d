import { mastra } from './sdks/mastra.js'
import { testSdk } from './suite.js'

testSdk(mastra)
