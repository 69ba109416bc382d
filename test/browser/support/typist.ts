import type { ServerResponse } from 'node:http'
import { deferred } from '../../examples/support/deferred.js'
import { begin, DONE, event, type Answer } from '../../examples/support/openai-server.js'

/** A language model whose output the test types, so that nothing depends on timing. It handles one request after another. */
export interface Typist {
  readonly answer: Answer
  /** Resolves when the next request has arrived. */
  asked (): Promise<Writing>
}

interface Writing {
  write (text: string): void
  finish (): void
  /** Resolves when the client has disconnected. */
  readonly aborted: Promise<void>
}

export function createTypist (): Typist {
  const questions: Writing[] = []
  const waiting: Array<(writing: Writing) => void> = []
  return {
    async answer (response, { aborted }) {
      begin(response)
      const ended = deferred()
      const writing = writingTo(response, aborted, ended.resolve)
      const next = waiting.shift()
      if (next === undefined) questions.push(writing)
      else next(writing)
      await Promise.race([ended.promise, aborted])
    },
    asked: () => new Promise((resolve) => {
      const writing = questions.shift()
      if (writing === undefined) waiting.push(resolve)
      else resolve(writing)
    })
  }
}

function writingTo (response: ServerResponse, aborted: Promise<void>, ended: () => void): Writing {
  return {
    aborted,
    write: (text) => { response.write(event(text)) },
    finish () {
      response.end(`${event(undefined, 'stop')}${DONE}`)
      ended()
    }
  }
}
