import { testFrontEnd } from './front-end.js'
import { buildRecipe, startRecipe } from './support.js'

testFrontEnd({
  name: 'svelte',
  async open (t) {
    await buildRecipe(t, 'svelte')
    const server = await startRecipe(t, 'svelte')
    return { url: server.url, server }
  }
})
