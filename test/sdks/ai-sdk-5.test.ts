import { aiSdk5 } from './sdks/ai-sdk.js'
import { testSdk } from './suite.js'

for (const sdk of aiSdk5) testSdk(sdk)
