/** Reads the server's settings from the environment. */
export interface ServerConfig {
  host: string
  port: number
  logLevel: string
  origins: string[]
  documentSeconds: number
}

/** Throws if a setting is invalid. */
export function serverConfig (env: NodeJS.ProcessEnv): ServerConfig {
  const { PORT = '3001', HOST = 'localhost', LOG_LEVEL = 'warn', ORIGINS = '', DOCUMENT_SECONDS = '15' } = env
  const port = Number(PORT)
  if (PORT.trim() === '' || !Number.isInteger(port) || port < 0 || port > 65_535) {
    throw new Error(`PORT is not a port: set it to a number from 0 (any free port) to 65535, not "${PORT}"`)
  }
  const documentSeconds = Number(DOCUMENT_SECONDS)
  if (DOCUMENT_SECONDS.trim() === '' || !(documentSeconds >= 0 && documentSeconds <= 240)) {
    throw new Error(`DOCUMENT_SECONDS is not a duration: set it to a number from 0 (without delays) to 240, not "${DOCUMENT_SECONDS}"`)
  }
  return {
    // Fastify listens to this name on IPv4 and IPv6, and neither is reachable from the network.
    host: HOST,
    port,
    logLevel: LOG_LEVEL,
    origins: ORIGINS.split(',').map((origin) => origin.trim()).filter((origin) => origin !== ''),
    documentSeconds
  }
}
