import { langchain, langchainEvents, langchainParser, langchainResponses } from './sdks/langchain.js'
import { testSdk } from './suite.js'

for (const sdk of [langchain, langchainResponses, langchainEvents, langchainParser]) testSdk(sdk)
