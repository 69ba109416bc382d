import { documentFile } from './page.js'
import type { Source } from './program.js'

/** What this process says to the agent that started it. */
export type Report =
  | { type: 'chunk', text: string }
  | { type: 'end' }
  | { type: 'invalid', message: string }

function report (message: Report): void {
  process.send?.(message)
}

// It does not end by itself, because what was sent last may still be on its way: its parent ends it
process.on('message', (source: Source) => {
  try {
    for (const text of documentFile(source)) report({ type: 'chunk', text })
    report({ type: 'end' })
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error
    report({ type: 'invalid', message: error.message })
  }
})
