import { testFrontEnd } from './front-end.js'
import { runRecipeScript, startRecipeServer } from './recipe-server.js'

testFrontEnd({
  name: 'svelte',
  async open (t) {
    runRecipeScript('svelte', 'build')
    const server = await startRecipeServer(t, 'svelte', 'start')
    return { url: server.url, server }
  }
})
