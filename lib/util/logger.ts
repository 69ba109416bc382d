import { readableError } from './safe-error.js'

/** The part of Fastify's logger that the server uses. Fields never contain a payload or a token. */
export interface Logger {
  debug (fields: object, message: string): void
  info (fields: object, message: string): void
  warn (fields: object, message: string): void
  error (fields: object, message: string): void
}

type Level = keyof Logger

/**
 * Returns a logger that never throws. The server logs values that an app's hook threw, and a logger reads all their
 * properties, including getters and proxies that may throw. It then logs the entry again with a readable copy of the error. If
 * that throws too, the entry is lost, and nothing else happens.
 */
export function safeLogger (log: Logger): Logger {
  const at = (level: Level) => (fields: object, message: string): void => {
    try {
      log[level](fields, message)
    } catch {
      try {
        log[level]('err' in fields ? { ...fields, err: readableError(fields.err) } : fields, message)
      } catch { /* There is no other way to log it. */ }
    }
  }
  return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') }
}
