import { join } from 'node:path'
import { buildApp } from './app.js'
import { openAIConfig } from './config/openai.js'
import { serverConfig } from './config/server.js'
import { getWebSocketManager } from './config/websocket.js'

/** The file that the page suggests for documentation. */
const FIRST_FILE = 'lib/manager/manager.ts'

async function start (): Promise<void> {
  const { host, port, logLevel, origins, documentSeconds } = serverConfig(process.env)
  const app = await buildApp({
    root: process.cwd(),
    openai: openAIConfig(process.env),
    logger: { level: logLevel },
    page: join(import.meta.dirname, 'page/dist'),
    origins,
    documentSeconds,
    warmUp: FIRST_FILE
  })

  // Once, so that a second Ctrl+C exits immediately.
  for (const signal of ['SIGINT', 'SIGTERM']) {
    process.once(signal, () => {
      app.log.info({ signal, activeConnections: getWebSocketManager().getStats().activeConnections }, 'closing')
      void app.close()
    })
  }

  try {
    await app.listen({ host, port })
  } catch (error) {
    await app.close()
    throw isTaken(error) ? new Error(`port ${port} is taken: start with another one, such as PORT=${nextPort(port)} npm start`) : error
  }
  // 0 stands for any free port, and 0.0.0.0 for any address of this machine.
  const address = app.server.address()
  const listening = address !== null && typeof address === 'object' ? address.port : port
  const at = `${host === '0.0.0.0' || host === '::' ? 'localhost' : host.includes(':') ? `[${host}]` : host}:${listening}`
  process.stdout.write(`AI Canvas: open http://${at}/\n`)
  process.stdout.write(`At a second terminal: npx wscat -c 'ws://${at}/ws?sessionId=my_session'\n`)
}

function isTaken (error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'EADDRINUSE'
}

function nextPort (port: number): number {
  return port < 65_535 ? port + 1 : 0
}

try {
  await start()
} catch (error) {
  // An invalid setting is reported in one line, because a stack trace would not help the user.
  process.stderr.write(`AI Canvas: ${(error as Error).message}\n`)
  process.exitCode = 1
}
