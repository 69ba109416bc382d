import t from 'tap'
import { launch, noBrowser, openTab } from '../../browser/support/browser.js'
import { says } from '../../browser/support/canvas-page.js'
import { RecipePage, SHORT, testFrontEnd } from './front-end.js'
import { noRecipes } from './installed.js'
import { runRecipeScript, startRecipeServer } from './recipe-server.js'

testFrontEnd({
  name: 'vite-react',
  async open (t) {
    runRecipeScript('vite-react', 'build')
    const server = await startRecipeServer(t, 'vite-react', 'start')
    return { url: server.url, server }
  }
})

t.test('Vite\'s development server passes the socket on', { skip: noRecipes || noBrowser }, async (t) => {
  const server = await startRecipeServer(t, 'vite-react', 'start')
  const vite = await startRecipeServer(t, 'vite-react', 'dev', { more: ['--port=0'], given: { PORT: new URL(server.url).port } })
  const { page } = await openTab(t, await launch(t), vite.url)
  const tab = new RecipePage(page)
  await says(tab.connection, 'Connected')
  await tab.ask(SHORT)
  await says(tab.text, SHORT)

  await server.stop('SIGKILL')
  await says(tab.connection, 'Connection lost, reconnecting')
  await server.start()
  await says(tab.connection, 'Connected')
})
