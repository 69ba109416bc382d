import { ollamaChat, ollamaGenerate } from './sdks/ollama.js'
import { testSdk } from './suite.js'

testSdk(ollamaChat)
testSdk(ollamaGenerate)
