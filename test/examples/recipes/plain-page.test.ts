import { testFrontEnd } from './front-end.js'
import { startRecipe } from './support.js'

testFrontEnd({
  name: 'plain-page',
  async open (t) {
    const server = await startRecipe(t, 'plain-page')
    return { url: server.url, server }
  }
})
