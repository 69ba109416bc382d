import { join } from 'node:path'
import { buildApp } from './app.js'
import { openAIConfig } from './config/openai.js'
import { serverConfig } from './config/server.js'
import { getWebSocketManager } from './config/websocket.js'

const { host, port, logLevel, origins } = serverConfig(process.env)
const app = await buildApp({
  root: process.cwd(),
  openai: openAIConfig(process.env),
  logger: { level: logLevel },
  page: join(import.meta.dirname, 'page/dist'),
  origins
})

// Once: who presses Ctrl+C a second time does not want to wait
for (const signal of ['SIGINT', 'SIGTERM']) {
  process.once(signal, () => {
    app.log.info({ signal, activeConnections: getWebSocketManager().getStats().activeConnections }, 'closing')
    void app.close()
  })
}

await app.listen({ host, port })
