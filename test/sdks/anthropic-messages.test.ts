import { anthropicCreate, anthropicStream } from './sdks/anthropic-messages.js'
import { testSdk } from './suite.js'

testSdk(anthropicCreate)
testSdk(anthropicStream)
