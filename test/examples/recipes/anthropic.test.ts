import { anthropicMessages } from '../../sdks/wires/anthropic-messages.js'
import { testModelRecipe } from './model-suite.js'

testModelRecipe({
  name: 'anthropic',
  wires: anthropicMessages,
  env: (url) => ({ ANTHROPIC_API_KEY: 'none', ANTHROPIC_BASE_URL: url })
})
