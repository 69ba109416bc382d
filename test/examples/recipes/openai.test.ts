import { openaiResponses } from '../../sdks/wires/openai-responses.js'
import { testModelRecipe } from './model-suite.js'

testModelRecipe({
  name: 'openai',
  wires: openaiResponses,
  env: (url) => ({ OPENAI_API_KEY: 'none', OPENAI_BASE_URL: `${url}/v1` })
})
