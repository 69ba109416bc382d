import { googleGenai } from './sdks/google-genai.js'
import { testSdk } from './suite.js'

testSdk(googleGenai)
