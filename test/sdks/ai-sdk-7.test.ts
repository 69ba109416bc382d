import { aiSdk7 } from './sdks/ai-sdk.js'
import { testSdk } from './suite.js'

for (const sdk of aiSdk7) testSdk(sdk)
