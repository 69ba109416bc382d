import { aiSdk6 } from './sdks/ai-sdk.js'
import { testSdk } from './suite.js'

for (const sdk of aiSdk6) testSdk(sdk)
