import t from 'tap'
import { launch, noBrowser, openTab } from '../../browser/support/browser.js'
import { says } from '../../browser/support/canvas-page.js'
import { RecipePage, SHORT, testFrontEnd } from './front-end.js'
import { buildRecipe, startRecipe, whyNot } from './support.js'

testFrontEnd({
  name: 'vite-react',
  async open (t) {
    await buildRecipe(t, 'vite-react')
    const server = await startRecipe(t, 'vite-react')
    return { url: server.url, server }
  }
})

t.test('Vite\'s development server passes the socket on', { skip: whyNot() || noBrowser }, async (t) => {
  const server = await startRecipe(t, 'vite-react')
  const vite = await startRecipe(t, 'vite-react', { PORT: new URL(server.url).port }, { script: 'dev', args: ['--port=0'] })
  const { page } = await openTab(t, await launch(t), vite.url)
  const tab = new RecipePage(page)
  await says(tab.connection, 'Connected')
  await tab.ask(SHORT)
  await says(tab.text, SHORT)

  await server.stop()
  await says(tab.connection, 'Connection lost, reconnecting')
  await server.start()
  await says(tab.connection, 'Connected')
})
