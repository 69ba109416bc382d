import { groq } from './sdks/groq.js'
import { testSdk } from './suite.js'

testSdk(groq)
