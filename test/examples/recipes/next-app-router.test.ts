import { testFrontEnd } from './front-end.js'
import { runRecipeScript, startRecipeServer } from './recipe-server.js'

testFrontEnd({
  name: 'next-app-router',
  async open (t) {
    runRecipeScript('next-app-router', 'build')
    const given: NodeJS.ProcessEnv = {}
    const server = await startRecipeServer(t, 'next-app-router', 'server', { given })
    const pages = await startRecipeServer(t, 'next-app-router', 'start', {
      more: ['--port=0'], given: { SOCKET_URL: `${server.url.replace('http', 'ws')}/ws`, JOBS_URL: server.url }
    })
    // Each has to know where the other listens, on ports that nobody knows before.
    await server.stop('SIGTERM')
    given.PAGE_ORIGIN = pages.url
    await server.start()
    return { url: pages.url, server }
  }
})
