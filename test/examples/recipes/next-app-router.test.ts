import { testFrontEnd } from './front-end.js'
import { buildRecipe, startRecipe } from './support.js'

testFrontEnd({
  name: 'next-app-router',
  async open (t) {
    await buildRecipe(t, 'next-app-router')
    const server = await startRecipe(t, 'next-app-router', {}, { script: 'server' })
    const pages = await startRecipe(t, 'next-app-router', { SOCKET_URL: server.ws, JOBS_URL: server.url }, { args: ['--port=0'] })
    // Each server needs the other's port, which is known only after its start.
    await server.stop()
    await server.start({ PAGE_ORIGIN: pages.url })
    return { url: pages.url, server }
  }
})
