import { langgraphEvents, langgraphMessages, langgraphModes, langgraphResponses, langgraphUpdates, langgraphValues } from './sdks/langgraph.js'
import { testSdk } from './suite.js'

for (const sdk of [langgraphMessages, langgraphResponses, langgraphModes, langgraphEvents, langgraphUpdates, langgraphValues]) testSdk(sdk)
