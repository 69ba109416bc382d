import { readableError } from './safe-error.js'

/** The part of Fastify's logger that the server uses. Fields first, and never a payload or a token in them. */
export interface Logger {
  debug (fields: object, message: string): void
  info (fields: object, message: string): void
  warn (fields: object, message: string): void
  error (fields: object, message: string): void
}

type Level = keyof Logger

/**
 * A logger that never throws. The server logs what an app's hook threw, in the middle of its own work, and a logger reads
 * all of that: getters too, and proxies. Where it throws, the entry is logged again with an error that can be read. An
 * app's own logger that throws then too loses the entry, and nothing else.
 */
export function safeLogger (log: Logger): Logger {
  const at = (level: Level) => (fields: object, message: string): void => {
    try {
      log[level](fields, message)
    } catch {
      try {
        log[level]('err' in fields ? { ...fields, err: readableError(fields.err) } : fields, message)
      } catch { /* Nobody is left to tell. */ }
    }
  }
  return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') }
}
