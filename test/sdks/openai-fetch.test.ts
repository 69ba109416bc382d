import { openaiFetch } from './sdks/openai-fetch.js'
import { testSdk } from './suite.js'

testSdk(openaiFetch)
