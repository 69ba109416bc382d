import { testFrontEnd } from './front-end.js'
import { runRecipeScript, startRecipeServer } from './recipe-server.js'

testFrontEnd({
  name: 'vue',
  async open (t) {
    runRecipeScript('vue', 'build')
    const server = await startRecipeServer(t, 'vue', 'start')
    return { url: server.url, server }
  }
})
