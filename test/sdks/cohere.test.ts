import { cohere } from './sdks/cohere.js'
import { testSdk } from './suite.js'

testSdk(cohere)
