import { testFrontEnd } from './front-end.js'
import { startRecipeServer } from './recipe-server.js'

testFrontEnd({
  name: 'plain-page',
  async open (t) {
    const server = await startRecipeServer(t, 'plain-page', 'start')
    return { url: server.url, server }
  }
})
