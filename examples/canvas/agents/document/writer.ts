import { documentExports } from './page.js'
import type { Source } from './program.js'

/** A file to document. Its reports carry the same id. */
export interface Order {
  id: number
  source: Source
}

/** A message from this process to the agent that started it. */
export type Report = { id: number } & (
  | { type: 'chunk', text: string }
  | { type: 'end' }
  | { type: 'invalid', message: string }
)

// If the server was killed, the channel is broken. With a callback, `send` doesn't throw that error.
function report (message: Report): void {
  process.send?.(message, undefined, undefined, () => undefined)
}

process.on('disconnect', () => { process.exit() })
// The terminal also sends Ctrl+C to this process. The server ends it after its jobs have been reported.
process.on('SIGINT', () => undefined)

process.on('message', ({ id, source }: Order) => {
  try {
    for (const text of documentExports(source)) report({ id, type: 'chunk', text })
    report({ id, type: 'end' })
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error
    report({ id, type: 'invalid', message: error.message })
  }
})
