import { openaiChat } from '../../sdks/wires/openai-chat.js'
import { testModelRecipe } from './model-suite.js'

testModelRecipe({
  name: 'langgraph',
  wires: openaiChat,
  env: (url) => ({ OPENAI_API_KEY: 'none', OPENAI_BASE_URL: `${url}/v1` }),
  // Both nodes call the model. The chunks that LangGraph streams lack the finish reason.
  text: 'Héllo 👋 worldHéllo 👋 world',
  result: { finishReason: 'unknown' }
})
