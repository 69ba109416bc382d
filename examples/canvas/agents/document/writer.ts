import { documentExports } from './page.js'
import type { Source } from './program.js'

/** A file to document. Its reports have the same id. */
export interface Order {
  id: number
  source: Source
}

/** What this process sends to the agent that started it. */
export type Report = { id: number } & (
  | { type: 'chunk', text: string }
  | { type: 'end' }
  | { type: 'invalid', message: string }
)

// A server that was killed leaves the channel broken: the callback keeps that from being thrown here
function report (message: Report): void {
  process.send?.(message, undefined, undefined, () => undefined)
}

process.on('disconnect', () => { process.exit() })
// The terminal sends Ctrl+C to this process as well. The server ends it, when its jobs have been told.
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
