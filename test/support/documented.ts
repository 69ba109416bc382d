import { readFileSync } from 'node:fs'
import { createContext, runInContext, type Context } from 'node:vm'
import type { Test } from 'tap'
import { WebSocket } from 'ws'
import type { Message } from './ws-client.js'

// The documentation that the package must fulfil, word for word: what the tests replay is read from it, so that it can't
// drift away from it.
const text = readFileSync(new URL('platform-docs.md', import.meta.url), 'utf8')

/** The code blocks below a heading, up to the next one. The heading is given without its marks, number and emoji. */
export function documented (heading: string): string[] {
  const chapters = text.split(/^#+ [^\p{L}\n]*/mu)
  const chapter = chapters.find((chapter) => chapter.startsWith(`${heading}\n`))
  if (chapter === undefined) throw new Error(`the documentation has no heading "${heading}"`)
  return [...chapter.matchAll(/^```\w*\n(.*?)^```$/gms)].map(([, code]) => code!.trim())
}

/** The first of them. */
export function documentedCode (heading: string): string {
  return documented(heading)[0]!
}

const TIMESTAMP = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z$/
const CLIENT_ID = /^client_\d{13}_[0-9a-f]{32}$/

/**
 * Holds a message against a printed one: the same text, but for ids of clients and times, up to its last brace. What was
 * added may only come behind, also inside of an error: there it is `retryable`.
 */
export function sameAsPrinted (t: Test, message: Message, printed: string): void {
  const expected = JSON.parse(printed) as Message
  if ('timestamp' in expected) {
    t.match(message.timestamp, TIMESTAMP)
    expected.timestamp = message.timestamp as unknown
  }
  if ('clientId' in expected) {
    t.match(message.clientId, CLIENT_ID)
    expected.clientId = message.clientId as unknown
  }
  const wanted = JSON.stringify(expected).slice(0, -1)
  const received = JSON.stringify(message).replace(/,"retryable":(?:true|false)\}/, '}')
  t.equal(received.slice(0, wanted.length), wanted)
  t.match(received.slice(wanted.length), /^[,}]/)
}

/** Where documented code runs: with ws as the browser's `WebSocket`, this server in the place of the documented one, and timers that end with the test. */
export function browser (t: Test, origin: string, globals: Record<string, unknown> = {}): { context: Context, sockets: WebSocket[] } {
  const sockets: WebSocket[] = []
  class BrowserSocket extends WebSocket {
    constructor (url: string) {
      super(url.replace(/^ws:\/\/localhost:3001(?=\/)/, origin))
      sockets.push(this)
    }
  }
  const timers: NodeJS.Timeout[] = []
  t.teardown(() => {
    for (const timer of timers) clearTimeout(timer)
    for (const socket of sockets) socket.terminate()
  })
  const context = createContext({
    WebSocket: BrowserSocket,
    setTimeout: (callback: () => void, ms: number) => { timers.push(setTimeout(callback, ms)) },
    setInterval: (callback: () => void, ms: number) => { timers.push(setInterval(callback, ms)) },
    ...globals
  })
  return { context, sockets }
}

/** Runs documented code as it stands. Imports can't be part of a script: what they bring must be among the globals. */
export function run (code: string, context: Context): unknown {
  return runInContext(code.replace(/^import .*$/gm, ''), context)
}

/** A `console`, or any other callee of documented code, whose calls can be awaited one by one. */
export function recorder (): { call: (...args: unknown[]) => void, next: () => Promise<unknown[]> } {
  const calls: unknown[][] = []
  let wake: (() => void) | undefined
  return {
    call: (...args) => {
      calls.push(args)
      wake?.()
    },
    next: async () => {
      if (calls.length === 0) await new Promise<void>((resolve) => { wake = resolve })
      return calls.shift()!
    }
  }
}
