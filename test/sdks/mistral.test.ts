import { mistral } from './sdks/mistral.js'
import { testSdk } from './suite.js'

testSdk(mistral)
