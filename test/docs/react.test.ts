import t from 'tap'
import { bounds } from '../package/size.js'
import { namesIn, Page } from './markdown.js'
import { propertiesOf } from './snippets.js'

const page = new Page('lib/react/README.md')

t.test('the table of the hooks\' options names every option', async (t) => {
  const rows = page.table('Options')
  const names = rows.flatMap(({ option }) => namesIn(option))
  t.same(names.sort(), propertiesOf('lib/react/use-websocket.ts', 'UseWebSocketOptions').sort())
  t.same(names.filter((name) => name !== 'sessionId'), propertiesOf('lib/react/attachment.ts', 'HookOptions').sort(), 'useAIWebSocket takes the same ones')
  const client = new Page('lib/client/README.md').table('Options')
  for (const row of rows.filter((row) => row.default === 'none')) {
    for (const name of namesIn(row.option)) t.match(client.find(({ option }) => option === name)?.default ?? 'none', 'none', name)
  }
})

t.test('the table of the hooks names all that they return', async (t) => {
  const [plain, ai] = page.table('React hooks')
  t.same(namesIn(plain!.returns).sort(), propertiesOf('lib/react/use-websocket.ts', 'UseWebSocket').sort())
  t.same(namesIn(ai!.returns).sort(), propertiesOf('lib/react/use-ai-websocket.ts', 'UseAIWebSocket').sort())
})

t.test('the size that it gives is the one that is held', async (t) => {
  t.ok(page.text.includes(`: up to ${bounds.react / 1024} KB more.`))
})
