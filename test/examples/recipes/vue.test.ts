import { testFrontEnd } from './front-end.js'
import { buildRecipe, startRecipe } from './support.js'

testFrontEnd({
  name: 'vue',
  async open (t) {
    await buildRecipe(t, 'vue')
    const server = await startRecipe(t, 'vue')
    return { url: server.url, server }
  }
})
