import { Writable } from 'node:stream'
import type { Logger } from '../../lib/util/logger.js'

export interface Line { level: number, msg: string, [field: string]: any }

/** Returns a destination for Fastify's logger, and the lines that it has received: `Fastify({ logger: { level: 'debug', stream } })`. */
export function captureLog (): { lines: Line[], stream: Writable } {
  const lines: Line[] = []
  const stream = new Writable({
    write (chunk: Buffer, _encoding, done) {
      for (const line of chunk.toString().split('\n')) if (line !== '') lines.push(JSON.parse(line) as Line)
      done()
    }
  })
  return { lines, stream }
}

export interface Entry { level: keyof Logger, fields: Record<string, unknown>, message: string }

/** Returns a logger for unit tests that records its entries. */
export function fakeLogger (): Logger & { entries: Entry[] } {
  const entries: Entry[] = []
  const at = (level: keyof Logger) => (fields: object, message: string): void => {
    entries.push({ level, fields: fields as Record<string, unknown>, message })
  }
  return { entries, debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') }
}
